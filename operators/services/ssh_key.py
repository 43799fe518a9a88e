"""Whether the private key that a person put into a Secret is one: said before a Machine-Operator is started with it. Pure; called by cluster_operator."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key


def ssh_key_fault(data: str) -> str:
    """What is wrong with it; empty if it can be used. `data` as it stands in the Secret (base64)."""
    try:
        text = base64.b64decode(data, validate=True)
    except binascii.Error:
        return "it is no base64"
    if not text.strip():
        return "it is empty"
    if b"PRIVATE KEY" not in text:
        public = text.startswith((b"ssh-", b"ecdsa-", b"sk-"))
        return "it is a public key; the private one is wanted" if public else "it is no private key (no PRIVATE KEY line)"
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in text else load_pem_private_key
    try:
        load(text, password=None)
    except TypeError:
        return "it is locked with a passphrase, and nobody is there to type it"
    except (ValueError, UnsupportedAlgorithm) as error:
        words = str(error).splitlines()[0].rstrip(".")[:120] if str(error) else "it cannot be read"
        return "it is locked with a passphrase, and nobody is there to type it" if "assword" in words else f"it is damaged: {words}"
    return ""

"""Bootstrap tokens: one Secret per machine in kube-system of the business cluster, good for 15 minutes and for that machine's identity only.

The token's id follows from the Machine's uid, so a crash leaves none behind that is not found again. Its user is in the group
`system:bootstrappers:kok:<machine>`, which is what the approver asks for. Pure but for `secrets`; called by the machine's observe and act.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import yaml

from operators.api.base import LABEL_CLUSTER, LABEL_MACHINE, LABEL_MANAGED_BY, MANAGED_BY
from operators.domain.machine.certificates import TOKEN_GROUP
from operators.domain.machine.times import parse_time
from operators.domain.machine.view import Token
from operators.machine_operator.kinds import SECRET
from operators.ports.kube import Manifest, Ref

LIFE = timedelta(minutes=15)
NAMESPACE = "kube-system"
_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class TokenSecret:
    """A token with its secret part."""

    token: Token
    secret: str = field(repr=False)


def token_id(machine_uid: str) -> str:
    """Six characters that follow from the Machine's uid."""
    return base64.b32encode(hashlib.sha256(machine_uid.encode()).digest()).decode().lower()[:6]


def token_ref(machine_uid: str) -> Ref:
    """Where the token of a machine lies."""
    return SECRET.ref(f"bootstrap-token-{token_id(machine_uid)}", NAMESPACE)


def token_manifest(machine: str, machine_uid: str, *, cluster: str, now: datetime) -> Manifest:
    """A fresh token as a Secret."""
    fields = {
        "token-id": token_id(machine_uid),
        "token-secret": "".join(secrets.choice(_ALPHABET) for _ in range(16)),
        "expiration": (now + LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": f"{TOKEN_GROUP}{machine}",
        "description": f"kok: machine {machine} of cluster {cluster}, deleted after use",
    }
    ref = token_ref(machine_uid)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_MACHINE: machine, LABEL_CLUSTER: cluster},
        },
        "type": "bootstrap.kubernetes.io/token",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in fields.items()},
    }


def read_token(manifest: Manifest, machine: str) -> TokenSecret | None:
    """The token of a Secret; None if it is not one that was made for this machine."""
    data = {key: base64.b64decode(value).decode(errors="replace") for key, value in (manifest.get("data") or {}).items()}
    expires = parse_time(data.get("expiration", ""))
    if expires is None or data.get("auth-extra-groups") != f"{TOKEN_GROUP}{machine}" or not data.get("token-secret"):
        return None
    secret = data["token-secret"]
    return TokenSecret(Token(data["token-id"], hashlib.sha256(secret.encode()).hexdigest()[:16], expires), secret)


def bootstrap_kubeconfig(token: TokenSecret, *, server: str, ca_pem: str) -> str:
    """What the kubelet reads before it has a certificate."""
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca_pem.encode()).decode()}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "business", "cluster": cluster}],
        "users": [{"name": "bootstrap", "user": {"token": f"{token.token.id}.{token.secret}"}}],
        "contexts": [{"name": "bootstrap", "context": {"cluster": "business", "user": "bootstrap"}}],
        "current-context": "bootstrap",
    }
    return yaml.safe_dump(config, sort_keys=False)

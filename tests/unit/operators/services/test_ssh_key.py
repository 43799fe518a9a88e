"""Private keys as people put them into Secrets: real ones of ssh-keygen, and what they are mistaken for."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from operators.services.ssh_key import ssh_key_fault


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def generated(folder: Path, *more: str, kind: str = "ed25519", passphrase: str = "") -> Path:
    path = folder / f"{kind}{len(more)}{len(passphrase)}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, *more, "-f", path], check=True)
    return path


@pytest.mark.parametrize(("kind", "more"), [("ed25519", ()), ("ecdsa", ()), ("rsa", ("-b", "2048")), ("rsa", ("-b", "1024", "-m", "PEM"))])
def test_should_take_what_ssh_keygen_makes(tmp_path: Path, kind: str, more: tuple[str, ...]) -> None:
    assert ssh_key_fault(encoded(generated(tmp_path, *more, kind=kind).read_text())) == ""


@pytest.mark.parametrize("more", [("-b", "1024", "-a", "1"), ("-b", "1024", "-m", "PEM")])
def test_should_refuse_a_key_with_a_passphrase(tmp_path: Path, more: tuple[str, ...]) -> None:
    key = generated(tmp_path, *more, kind="rsa", passphrase="secret")
    assert ssh_key_fault(encoded(key.read_text())) == "it is locked with a passphrase, and nobody is there to type it"


def test_should_tell_a_public_key_from_a_damaged_one(tmp_path: Path) -> None:
    key = generated(tmp_path)
    assert "it is a public key" in ssh_key_fault(encoded(key.with_suffix(".pub").read_text()))
    lines = key.read_text().splitlines()
    assert ssh_key_fault(encoded("\n".join([lines[0], lines[1][:20], lines[-1]]))).startswith("it is damaged: ")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("%%%", "no base64"),
        (encoded(" \n"), "it is empty"),
        (encoded("hunter2"), "no private key"),
        (encoded(b"\xff\x00"), "no private key"),
    ],
)
def test_should_say_what_else_it_is(data: str, says: str) -> None:
    assert says in ssh_key_fault(data)

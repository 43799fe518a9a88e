"""`kok host scan`: the SSH host keys of an address, in the form that a pool's spec takes. Asks the host; stores and trusts nothing."""

from __future__ import annotations

import shutil
import socket
import subprocess
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Hosts before they are machines.")
PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


@app.callback()
def host() -> None:
    """Hosts before they are machines."""


@app.command()
def scan(
    address: Annotated[str, typer.Argument(help="IP address or name.")],
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="sshd's port.")] = 22,
    every: Annotated[bool, typer.Option("--all", help="Every key type, not only the best.")] = False,
    timeout: Annotated[int, typer.Option("--timeout", min=1, max=60, help="Seconds to wait.")] = 5,
) -> None:
    """Print what to commit as hostKeys of a host. Compare the fingerprint with the host's console first: this asks the network.

    Example:

      kok host scan 10.89.0.11
    """
    from meta_cluster.cli.console import say, tell

    keys = best_keys(_keyscan(address, port, timeout), every=every)
    for key in keys:
        tell(
            f"fingerprint {fingerprint(key)}   compare: ssh-keygen -lf /etc/ssh/ssh_host_{key.split()[0].split('-')[1]}_key.pub on the host"
        )
    say("hostKeys:\n" + "\n".join(f"  - {key}" for key in keys))


def best_keys(lines: str, *, every: bool = False) -> list[str]:
    """`type base64` of the strongest key that ssh-keyscan printed (or of all, strongest first)."""
    found = {}
    for line in lines.splitlines():
        words = line.split()
        if len(words) == 3 and not line.startswith("#") and words[1] in PREFERRED:
            found[words[1]] = f"{words[1]} {words[2]}"
    ordered = [found[kind] for kind in PREFERRED if kind in found]
    return ordered if every else ordered[:1]


def fingerprint(key: str) -> str:
    """SHA256:... as OpenSSH prints it."""
    import base64
    import hashlib

    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def knock(address: str, port: int, timeout: int) -> None:
    """Connect and hear sshd's greeting. Raises KokError: HostUnresolved, HostRefused, HostTimeout or HostNotSsh, each with what to do."""
    from operators.adapters.no_answer import NO_WAY, why_no_answer
    from operators.errors import ErrorCode, KokError

    where = f"{address}:{port}"
    try:
        with socket.create_connection((address, port), timeout=timeout) as connection:
            said = _greeting(connection)
    except socket.gaierror as error:
        raise KokError(ErrorCode.HostUnresolved, f"the name {address} does not resolve here", "give its IP address") from error
    except TimeoutError as error:
        message = f"{where} did not answer within {timeout} s: the host is off or cut off, or a firewall drops what is sent to it"
        raise KokError(ErrorCode.HostTimeout, message, f"ping {address}; --timeout waits longer") from error
    except OSError as error:
        message = f"{where} cannot be reached: {why_no_answer(error)}"
        if error.errno in NO_WAY:
            raise KokError(ErrorCode.HostTimeout, f"{message}; is it powered on?", f"ping {address}") from error
        raise KokError(ErrorCode.HostRefused, message, "check that sshd runs there, and --port") from error
    if said is None:
        message = f"{where} took the connection and said nothing within {timeout} s: sshd hangs, or something else listens there"
        raise KokError(ErrorCode.HostTimeout, message, "check --port, and sshd on the host's console")
    if not said.startswith(b"SSH-"):
        words = said[:60].decode(errors="replace").strip()
        message = f"{where} is no SSH server: it {f'says {words!r}' if words else 'closes the connection'}"
        raise KokError(ErrorCode.HostNotSsh, message, "check --port")


def _greeting(connection: socket.socket) -> bytes | None:
    """The first bytes that it says by itself, as an SSH server does; None if it keeps silent for the connection's time."""
    try:
        return connection.recv(255)
    except TimeoutError:
        return None


def _keyscan(address: str, port: int, timeout: int) -> str:
    from operators.errors import ErrorCode, KokError

    if address.startswith("-"):
        raise KokError(ErrorCode.Usage, f"{address!r} is no address", "kok host scan 10.89.0.11")
    if not shutil.which("ssh-keyscan"):
        raise KokError(
            ErrorCode.Usage, "there is no ssh-keyscan on PATH", "install the OpenSSH client (Debian: apt-get install openssh-client)"
        )
    knock(address, port, timeout)
    command = ["ssh-keyscan", "-T", str(timeout), "-p", str(port), "--", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout * 6)
    if not best_keys(done.stdout):
        words = [line for line in done.stderr.splitlines() if not line.startswith("#")]
        said = f": {words[-1]}" if words else ""
        hint = "sshd may be overloaded, or offer only old key types: ssh -v shows which"
        raise KokError(ErrorCode.HostNotSsh, f"{address}:{port} greets as SSH, but showed no host key that kok takes{said}", hint)
    return done.stdout

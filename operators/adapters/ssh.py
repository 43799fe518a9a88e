"""Looking at hosts over SSH: one connection, one command, one report. Pinned host keys only; a deadline over everything; nothing changes on the host.

Implements ports.ssh with asyncssh. The probe is the same Python that the Ansible modules decide by (playbooks/module_utils/kok_host/observe.py), sent on
stdin to `python3 -`, so nothing is installed for looking. Used by machine_operator.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from operators.adapters.host_wire import Detail, host_report_of, package_wire
from operators.adapters.no_answer import NO_WAY, why_no_answer
from operators.domain.machine.host import DesiredPackage, HostReport
from operators.errors import ErrorCode, KokError
from operators.ports.ssh import SshTarget

PROBE = "module_utils/kok_host/observe.py"
REPIN = "find out why; when the change is meant: `kok host scan` prints the new key to commit in the pool's spec.hosts[].hostKeys"
NO_SUDO = (
    "password is required",
    "not in the sudoers",
    "sudo: not found",
    "may not run sudo",
    "a terminal is required",
    "command not found: sudo",
)


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """How many hosts are looked at together; sshd's MaxStartups resets bursts, but each host has its own sshd, so this bounds us."""

    connections: int = 50


class SshProbe:
    """Looks at hosts; see ports.ssh.SshPort."""

    def __init__(self, playbooks: Path, limits: ProbeLimits = ProbeLimits()) -> None:
        self._script = (playbooks / PROBE).read_text(encoding="utf-8")
        self._slots = asyncio.Semaphore(limits.connections)

    async def probe(self, target: SshTarget, wanted: tuple[DesiredPackage, ...], *, deadline: float) -> HostReport:
        """What is on the host. See the port for what is raised."""
        if not target.host_keys:
            message = f"no host key is pinned for {target.name} ({target.address})"
            raise KokError(ErrorCode.HostKeyMissing, message, "`kok host scan` prints what to commit in the pool's spec.hosts[].hostKeys")
        try:
            async with asyncio.timeout(deadline), self._slots:
                return await self._look(target, wanted)
        except TimeoutError as error:
            message = f"{_where(target)} did not answer within {deadline:.0f}s"
            raise KokError(ErrorCode.HostTimeout, message, f"ssh -p {target.port} {target.user}@{target.address}") from error
        except (OSError, asyncssh.Error) as error:
            raise _translated(error, target) from error

    async def _look(self, target: SshTarget, wanted: tuple[DesiredPackage, ...]) -> HostReport:
        command = "python3 -" if target.user == "root" else "sudo -n python3 -"
        connection = await _connect(target)
        try:
            done = await _answer(connection, command, probe_text(self._script, wanted))
        finally:
            connection.abort()  # says nothing and waits for nothing: a host that hangs would not answer a goodbye
        if done.exit_status != 0:
            raise _failed(done, target)
        try:
            return host_report_of(json.loads(str(done.stdout)))
        except (ValueError, KeyError, TypeError) as error:
            message = f"{_where(target)} answered with something that is no report: {_last_line(str(done.stdout))[:200]}"
            raise KokError(ErrorCode.HostRefused, message, "a login script of that user prints to stdout?") from error


async def _answer(connection: asyncssh.SSHClientConnection, command: str, text: str) -> asyncssh.SSHCompletedProcess:
    """What became of a command that reads the text. One that ended before it read anything is asked once more, without: only so it tells why."""
    try:
        return await connection.run(command, input=text, errors="replace")
    except BrokenPipeError:
        return await connection.run(command, stdin=asyncssh.DEVNULL, errors="replace")


def probe_text(script: str, wanted: tuple[DesiredPackage, ...]) -> str:
    """The probe and its question as one Python text; digests only, nothing secret."""
    question = json.dumps([package_wire(package, Detail.Digests) for package in wanted])
    return f"{script}\nprint(json.dumps(host_report(json.loads({question!r}))))\n"


async def _connect(target: SshTarget) -> asyncssh.SSHClientConnection:
    keys = [asyncssh.import_public_key(key) for key in target.host_keys]
    algorithms = [str(algorithm, "ascii") for key in keys for algorithm in key.sig_algorithms]
    return await asyncssh.connect(
        target.address,
        target.port,
        username=target.user,
        client_keys=[asyncssh.import_private_key(target.private_key)],
        known_hosts=(keys, [], []),
        server_host_key_algs=algorithms,
        config=None,
        agent_path=None,
        preferred_auth="publickey",
        password=None,
        keepalive_interval=5,
        connect_timeout=None,  # the deadline covers everything
        login_timeout=0,
    )


def _translated(error: OSError | asyncssh.Error, target: SshTarget) -> KokError:
    """asyncssh's and the kernel's words as ours."""
    where = _where(target)
    if isinstance(error, asyncssh.HostKeyNotVerifiable) or (isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in str(error)):
        return KokError(
            ErrorCode.HostKeyChanged, f"{where} shows a host key that is not pinned: somebody else answers, or it was reinstalled", REPIN
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return KokError(
            ErrorCode.HostRefused,
            f"{where} refuses the key of user {target.user}: {error.reason}",
            "put the public key into its authorized_keys",
        )
    if isinstance(error, asyncssh.KeyImportError):
        return KokError(
            ErrorCode.SecretInvalid,
            f"a key for {target.name} cannot be read: {error}",
            "check the SSH key Secret and spec.hosts[].hostKeys",
        )
    if isinstance(error, socket.gaierror):
        return KokError(ErrorCode.HostUnresolved, f"{where}: the name {target.address} does not resolve", "correct spec.hosts[].address")
    said = str(error) if isinstance(error, asyncssh.Error) else why_no_answer(error)
    if isinstance(error, OSError) and error.errno in NO_WAY:
        return KokError(ErrorCode.HostTimeout, f"{where}: {said}; is it powered on?", f"ping {target.address}")
    return KokError(ErrorCode.HostRefused, f"{where}: {said}", f"is sshd running? ssh -p {target.port} {target.user}@{target.address}")


def _failed(done: asyncssh.SSHCompletedProcess, target: SshTarget) -> KokError:
    """The probe's command did not work."""
    said = _last_line(str(done.stderr)) or _last_line(str(done.stdout)) or f"exit code {done.exit_status}"
    if any(word in said for word in NO_SUDO):
        hint = f"echo '{target.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/kok"
        return KokError(ErrorCode.HostNoSudo, f"{_where(target)}: user {target.user} may not become root: {said}", hint)
    return KokError(ErrorCode.HostRefused, f"{_where(target)}: the probe failed: {said}", "python3 has to be installed on the host")


def _where(target: SshTarget) -> str:
    return f"{target.name} ({target.address}:{target.port})"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""

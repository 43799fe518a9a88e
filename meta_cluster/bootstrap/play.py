"""Runs one of playbooks/meta over SSH as the operators run theirs: a child process with a private folder, pinned host keys, nothing secret in arguments.

Decides nothing. Called by `meta_init`. A failure of a host is in the answer, never an exception.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.adapters.ansible_folder import environment, known_hosts_lines
from operators.adapters.ansible_processes import end_descendants
from operators.errors import ErrorCode, KokError
from operators.ports.ssh import SshTarget


@dataclass(frozen=True, slots=True)
class Player:
    """One host in a play: group (`first`, `others`), and the variables that the playbook reads."""

    target: SshTarget
    group: str
    variables: Mapping[str, Any]


@contextmanager
def private_folder() -> Iterator[Path]:
    """Mode 0700, in memory where that is possible, gone at the end."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of mode 0700 is made in it
    folder = Path(tempfile.mkdtemp(prefix="kok-meta-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def play(playbook: Path, players: tuple[Player, ...], *, seconds: float) -> dict[str, str]:
    """Host name -> what went wrong there, for the hosts where something did. Raises KokError AnsibleFailed if it could not run at all."""
    with private_folder() as folder:
        await asyncio.to_thread(_write, folder, playbook, players)
        command = [sys.executable, "-m", "operators.adapters.ansible_child", str(folder), str(os.getpid())]
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment(folder), cwd=folder, start_new_session=True, limit=1 << 20
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                said, complained = await child.communicate()
        except TimeoutError as error:
            raise KokError(
                ErrorCode.AnsibleTimeout, f"{playbook.name} was not finished within {seconds:.0f}s", "run it again: it goes on"
            ) from error
        finally:
            if child.returncode is None:
                end_descendants(child.pid)
                child.kill()
                await child.wait()
    return _failures(playbook, players, said.decode(errors="replace"), complained.decode(errors="replace"))


def _write(folder: Path, playbook: Path, players: tuple[Player, ...]) -> None:
    for name in ("keys", "tmp", "cp"):
        (folder / name).mkdir(mode=0o700)
    groups: dict[str, Any] = {"first": {"hosts": {}}, "others": {"hosts": {}}}
    for player in players:
        target, key = player.target, folder / "keys" / player.target.name
        _private(key, target.private_key.rstrip("\n") + "\n")
        connection = {
            "ansible_host": target.address,
            "ansible_port": target.port,
            "ansible_user": target.user,
            "ansible_ssh_private_key_file": str(key),
            "ansible_become": target.user != "root",
        }
        groups[player.group]["hosts"][target.name] = connection | dict(player.variables)
    _private(folder / "known_hosts", "".join(known_hosts_lines(player.target) for player in players))
    _private(folder / "hosts.json", json.dumps({"all": {"children": groups}}))
    _private(folder / "job.json", json.dumps({"ident": "meta", "playbook": str(playbook), "forks": len(players)}))


def _private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _failures(playbook: Path, players: tuple[Player, ...], said: str, complained: str) -> dict[str, str]:
    failures: dict[str, str] = {}
    finished: set[str] = set()
    end = ""
    for line in said.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if "stats" in told:
            finished = set(told["stats"].get("ok", {}))
        elif "end" in told:
            end = told["end"].get("tail", "")
        elif told.get("host"):
            failures[told["host"]] = f"{told['task']}: {told['message']}"
    if not failures and not finished:
        words = end or (complained.strip().splitlines() or ["without a word"])[-1]
        raise KokError(ErrorCode.AnsibleFailed, f"{playbook.name} ended before its first task: {words}")
    unfinished = {player.target.name: "was not finished" for player in players if player.target.name not in finished | set(failures)}
    return failures | unfinished

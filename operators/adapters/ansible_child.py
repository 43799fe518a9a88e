"""One Ansible run in a process of its own: ansible-runner is not thread-safe, forks a pty and changes signal handlers.

Started by adapters/ansible.py as `python -m operators.adapters.ansible_child FOLDER PARENT`; prints one JSON line per event of interest, the last one
being {"end": ...}. Holds no secret beyond the folder it was given, and never outlives its parent.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from operators.adapters.ansible_processes import die_with_parent, end_descendants

KINDS = {"runner_on_ok", "runner_on_failed", "runner_on_unreachable", "playbook_on_stats"}
MESSAGE_LIMIT = 4000


def condensed(event: dict[str, Any]) -> dict[str, Any] | None:
    """What the parent needs of an event; None for the many it does not."""
    data = event.get("event_data") or {}
    if event.get("event") not in KINDS:
        return None
    if event["event"] == "playbook_on_stats":
        return {"stats": {name: data.get(name) or {} for name in ("ok", "changed", "failures", "dark")}}
    if event["event"] == "runner_on_ok" or data.get("ignore_errors"):
        return None
    return {"host": data.get("host", ""), "task": data.get("task", ""), "message": message_of(data.get("res") or {})}


def message_of(result: dict[str, Any]) -> str:
    """The last line of what went wrong; what a crashed module printed counts more than Ansible's own sentence about it."""
    for key in ("module_stderr", "module_stdout", "msg", "stderr"):
        lines = [line.strip() for line in str(result.get(key) or "").splitlines() if line.strip()]
        if lines:
            return lines[-1][:MESSAGE_LIMIT]
    return "failed without a word"


def emit(line: dict[str, Any]) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def run(folder: Path) -> None:
    """The play, from its private folder."""
    import ansible_runner  # 0.3 s; only here, so that a child that has to die at once does

    job = json.loads((folder / "job.json").read_text())
    tail: list[str] = []

    def on_event(event: dict[str, Any]) -> bool:
        tail.extend(str(event.get("stdout") or "").splitlines()[-5:])
        if line := condensed(event):
            emit(line)
        return False

    result = ansible_runner.run(
        private_data_dir=str(folder),
        ident=job["ident"],
        playbook=job["playbook"],
        inventory=str(folder / "hosts.json"),
        forks=job["forks"],
        quiet=True,
        suppress_env_files=True,
        event_handler=on_event,
    )
    words = [line for line in tail if line.strip()]
    emit({"end": {"status": result.status, "code": result.rc, "tail": words[-1][:MESSAGE_LIMIT] if words else ""}})


def main() -> None:
    """Entry point. Whatever ends it, everything below ends first and the folder with its secrets goes."""
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])

    def end_all(signum: int, _frame: object) -> None:
        end_descendants(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(128 + signum)

    signal.signal(signal.SIGTERM, end_all)
    die_with_parent(parent)
    try:
        run(folder)
    finally:
        end_descendants(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

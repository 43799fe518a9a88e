"""kubectl as a person uses it, for the demo and the e2e stories: apply, get, exec, wait. Touches the cluster that its kubeconfig names."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.errors import ErrorCode, KokError

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One cluster seen through kubectl."""

    binary: Path
    kubeconfig: Path

    def run(self, *arguments: str, stdin: str = "", timeout: float = 60) -> str:
        """Standard output of one call. Raises KokError with kubectl's last line when it fails."""
        command = [str(self.binary), f"--kubeconfig={self.kubeconfig}", f"--request-timeout={int(timeout)}s", *arguments]
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout + 5, check=False)
        except subprocess.TimeoutExpired as error:
            raise KokError(ErrorCode.Timeout, f"kubectl {' '.join(arguments[:3])} took longer than {timeout:.0f} s") from error
        if done.returncode:
            raise KokError(ErrorCode.Unreachable, f"kubectl {' '.join(arguments[:3])}: {(done.stderr.strip() or '?').splitlines()[-1]}")
        return done.stdout

    def apply(self, *manifests: Manifest) -> str:
        """Server-side apply; prints what kubectl prints."""
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        return self.run("apply", "--server-side", "--field-manager=demo", "-f", "-", stdin=documents)

    def get(self, *arguments: str) -> Manifest | None:
        """One object or list as JSON; None when it is not there or the server does not answer."""
        try:
            found: Manifest = json.loads(self.run("get", *arguments, "-o", "json", "--ignore-not-found", timeout=10) or "null")
        except KokError:
            return None
        return found

    def items(self, *arguments: str) -> list[Manifest]:
        """The items of a list; empty when there are none or the server does not answer."""
        found = self.get(*arguments)
        return list(found.get("items", ())) if found else []

    def condition(self, kind: str, name: str, condition: str, *, namespace: str = "") -> Manifest:
        """One condition of an object; empty when it is not there."""
        found = self.get(kind, name, *(("-n", namespace) if namespace else ()))
        conditions: Sequence[Manifest] = ((found or {}).get("status") or {}).get("conditions", ())
        return next((one for one in conditions if one["type"] == condition), {})


def wait_until(
    what: str, holds: Callable[[], object], *, timeout: float, every: float = 0.25, tell: Callable[[], str] = lambda: ""
) -> float:
    """Seconds until `holds()` was true. Raises KokError Timeout saying what was waited for and, by `tell`, how it stands."""
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        if waited > timeout:
            raise KokError(ErrorCode.Timeout, f"{what}: not after {waited:.0f} s; {tell()}".rstrip("; "), "kok why tells the cause")
        time.sleep(every)
    return time.monotonic() - began

"""Keeps what the API servers of business clusters say on stdout: their pods go in the middle of a run, and their logs with them.

A hard link to each log, made on the meta node within seconds of its birth, outlives the pod and its rotation. Read at the end of a run.
"""

from __future__ import annotations

import threading
from collections import defaultdict

from meta_cluster.lab.docker import attempt
from meta_cluster.lab.isolation import meta_nodes
from operators.errors import KokError

EVERY = 10.0
KEPT = "/var/log/kok-planes"
KEEP = f"""mkdir -p {KEPT} && cd /var/log/pods && find . -path './*/apiserver/*.log*' -type f -links 1 ! -name '*.gz' | while read -r log; do
  ln "$log" "{KEPT}/$(stat -c %i "$log"),$(echo "$log" | cut -d/ -f2)"
done"""
READ = f"""cd {KEPT} && grep -HF '"apiVersion":"audit.k8s.io/v1"' *"""
SECONDS = 60.0


class PlaneLogs:
    """From `start` to `lines`; a node that is off or not there yet is asked again."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Forget what an earlier run kept, and begin."""
        self._in_each("rm", "-rf", KEPT)
        self._thread.start()

    def stop(self) -> None:
        """No more links."""
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._over.wait(EVERY):
            self._in_each("sh", "-c", KEEP)

    def _in_each(self, *command: str) -> list[str]:
        """What that command says on each meta node; nothing where docker or the lab is not there yet."""
        try:
            return [attempt("exec", node, *command, timeout=SECONDS).stdout for node in meta_nodes()]
        except KokError:
            return []

    def lines(self) -> dict[str, list[str]]:
        """Namespace of a Cluster -> the audit lines of its API servers."""
        self._in_each("sh", "-c", KEEP)
        found: dict[str, list[str]] = defaultdict(list)
        for said in self._in_each("sh", "-c", READ):
            for line in said.splitlines():
                plane, event = audit_line(line)
                found[plane].append(event)
        return dict(found)


def audit_line(line: str) -> tuple[str, str]:
    """Namespace and event of a line of `grep -H`: `INODE,NAMESPACE_POD_UID:TIME stdout F EVENT`."""
    file, _, said = line.partition(":")
    return file.partition(",")[2].partition("_")[0], said[said.find("{") :]

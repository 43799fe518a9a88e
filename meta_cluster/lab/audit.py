"""The audit log of the lab's meta API server: how kubeadm is told to keep one, and how it is read. Judges nothing; tests/e2e/audit.py does.

The policy (manifests/kind/audit-policy.yaml) is copied to the lab's state, which is mounted into the node: the API server goes on starting
when the checkout is gone. Used by lab.meta, lab.lifecycle and end-to-end tests.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from meta_cluster.lab import layout
from meta_cluster.lab.docker import attempt

FILE = "audit-policy.yaml"
SOURCE = f"manifests/kind/{FILE}"
POLICY = f"{layout.NODE_SETTINGS}/{FILE}"
FOLDER = "/var/log/kok-audit"
LOG = f"{FOLDER}/audit.log"
READ_SECONDS = 60.0
OLDER_FILES = 9
"""Kept beside the one that is written; the oldest is dropped then."""


def write_policy(checkout: Path) -> None:
    """Bring the policy of this checkout to where the node reads it; a running API server keeps the one it started with."""
    folder = layout.settings_folder()
    folder.mkdir(exist_ok=True)
    shutil.copyfile(checkout / SOURCE, folder / FILE)


def api_server_patch() -> dict[str, Any]:
    """For kubeadm's ClusterConfiguration: at most ten files of 50 MB."""
    arguments = {"audit-policy-file": POLICY, "audit-log-path": LOG, "audit-log-maxsize": "50", "audit-log-maxbackup": str(OLDER_FILES)}
    volumes = [
        {"name": "audit-policy", "hostPath": POLICY, "mountPath": POLICY, "readOnly": True, "pathType": "File"},
        {"name": "audit-log", "hostPath": FOLDER, "mountPath": FOLDER, "readOnly": False, "pathType": "DirectoryOrCreate"},
    ]
    return {"extraArgs": arguments, "extraVolumes": volumes}


def audit_lines() -> list[str] | None:
    """All lines that are kept; None for a lab that was made before it kept any."""
    done = attempt("exec", layout.META_NODE, "sh", "-c", f"test -e {LOG} && cat {FOLDER}/*.log", timeout=READ_SECONDS)
    return done.stdout.splitlines() if done.returncode == 0 else None

"""What every story stands on: the fleet that `make demo` left running, and how to ask for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_cluster.demo.kubectl import Kubectl, Manifest

ROOT = Path(__file__).resolve().parents[2]
KOK = Path(sys.executable).parent / "kok"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What `make demo` left running."""

    lab: dict[str, Any]
    meta: Kubectl
    business: Kubectl
    transcript: str
    """What the demo printed."""


def lab_status() -> dict[str, Any]:
    done = subprocess.run([str(KOK), "lab", "status", "-o", "json"], capture_output=True, text=True, timeout=60, check=False)
    status: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else {}
    return status


def leader_of(meta: Kubectl) -> str:
    """The living pod that holds the Cluster-Operator's lease; empty if it is dead and nobody has taken over."""
    lease = meta.get("lease", "kok-cluster-operator", "-n", "kok-system") or {}
    holder = str((lease.get("spec") or {}).get("holderIdentity") or "").partition("#")[0]  # the pod's uid
    pods = meta.items("pods", "-n", "kok-system")
    return next((pod["metadata"]["name"] for pod in pods if pod["metadata"]["uid"] == holder and is_alive(pod)), "")


def is_alive(pod: Manifest) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and pod["status"].get("phase") == "Running"

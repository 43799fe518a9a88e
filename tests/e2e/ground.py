"""What every story stands on: the fleet that `make demo` left running, and how to ask for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_cluster.demo.kubectl import Kubectl

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

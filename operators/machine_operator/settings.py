"""Settings of the Machine-Operator: flags (`--business-kubeconfig`) over environment (`KOK_BUSINESS_KUBECONFIG`) over defaults. Read once by main."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field

from operators.domain.machine.view import Times
from operators.services.settings import OperatorSettings

SHARED_CACHE = Path("/var/cache/kok")


def default_cache() -> Path:
    """The volume of the pod; on a laptop a folder for temporary files."""
    return SHARED_CACHE / "artifacts" if os.access(SHARED_CACHE, os.W_OK) else Path(tempfile.gettempdir()) / "kok-artifacts"


class Settings(OperatorSettings):
    """What is the Machine-Operator's alone; three have no default."""

    namespace: str
    """Namespace of the Cluster in the meta cluster."""
    cluster: str
    """Name of the Cluster."""
    business_kubeconfig: str
    """File to reach the business cluster with; its CA is what hosts get to trust."""
    artifacts_url: str = "http://kok-artifacts.kok-system.svc:8080"
    """Where artifacts for hosts come from by digest; also file:///FOLDER."""
    endpoint: str = ""
    """URL of the business API server for hosts; empty: as the Cluster's spec.endpoint says."""
    cache: Path = Field(default_factory=lambda: default_cache())
    """Folder for artifacts on their way to hosts; /var/cache/kok where that can be written."""
    probe_seconds: Annotated[float, Field(ge=1)] = 60.0
    """How often a host that is right is looked at."""
    drain_seconds: Annotated[float, Field(ge=1)] = 900.0
    """When a drain that is not over asks a person to look."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=256)] = 64
    """Machines in work at the same time."""

    @property
    def times(self) -> Times:
        """What the ladder waits for."""
        return Times(probe=self.probe_seconds, drain_deadline=self.drain_seconds)

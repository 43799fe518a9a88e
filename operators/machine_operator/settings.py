"""Settings of the Machine-Operator: flags (`--business-kubeconfig`) over environment (`KOK_BUSINESS_KUBECONFIG`) over defaults. Read once by main."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from operators.domain.machine.view import Times

SHARED_CACHE = Path("/var/cache/kok")


def default_cache() -> Path:
    """The volume of the pod; on a laptop a folder for temporary files."""
    return SHARED_CACHE / "artifacts" if os.access(SHARED_CACHE, os.W_OK) else Path(tempfile.gettempdir()) / "kok-artifacts"


class Settings(BaseSettings):
    """Seconds where nothing else is said."""

    model_config = SettingsConfigDict(
        env_prefix="KOK_", cli_parse_args=False, cli_kebab_case=True, use_attribute_docstrings=True, extra="ignore"
    )

    namespace: str
    """Namespace of the Cluster in the meta cluster."""
    cluster: str
    """Name of the Cluster."""
    business_kubeconfig: str
    """File to reach the business cluster with; its CA is what hosts get to trust."""
    kubeconfig: str = ""
    """File to reach the meta cluster with; empty: the identity of the pod this runs in."""
    context: str = ""
    """Context of that file; empty: its current one."""
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
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus ask the pod's address
    """Address of /healthz, /readyz and /metrics."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the same; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=256)] = 64
    """Machines in work at the same time."""
    sweep_seconds: Annotated[float, Field(ge=10)] = 600.0
    """How often everything is listed to correct what the watch missed."""
    lease_seconds: Annotated[int, Field(ge=3)] = 15
    """How long others wait for a leader that says nothing."""
    pod_uid: str = ""
    """uid of the pod this runs in (downward API): a restarted container then takes over from its predecessor at once."""
    pod_name: str = ""
    """Name of the pod, for events; empty: the host name."""
    log_level: str = "info"
    """debug, info, warning or error."""

    @property
    def instance(self) -> str:
        """Who writes, for people."""
        return self.pod_name or socket.gethostname()

    @property
    def identity(self) -> str:
        """Who leads: unique per process start; what stands before `#` can only run once at a time."""
        unique = f"{os.getpid()}-{uuid4().hex[:8]}"
        return f"{self.pod_uid}#{unique}" if self.pod_uid else f"{self.instance}_{unique}"

    @property
    def times(self) -> Times:
        """What the ladder waits for."""
        return Times(probe=self.probe_seconds, drain_deadline=self.drain_seconds)

"""Settings that both operators share: who they are, how they reach the meta cluster, how they lead. Read once by each main."""

from __future__ import annotations

import os
import socket
from typing import Annotated
from uuid import uuid4

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class OperatorSettings(BaseSettings):
    """Flags (`--lease-seconds`) over environment (`KOK_LEASE_SECONDS`) over these defaults; seconds where nothing else is said."""

    model_config = SettingsConfigDict(
        env_prefix="KOK_", cli_parse_args=False, cli_kebab_case=True, use_attribute_docstrings=True, extra="ignore"
    )

    kubeconfig: str = ""
    """File to reach the meta cluster with; empty: the identity of the pod this runs in."""
    context: str = ""
    """Context of that file; empty: its current one."""
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus ask the pod's address
    """Address of /healthz, /readyz and /metrics."""
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

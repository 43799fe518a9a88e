"""Settings of the Cluster-Operator: flags (`--own-namespace`) over environment (`KOK_OWN_NAMESPACE`) over these defaults. Read once by main."""

from __future__ import annotations

import os
import socket
from typing import Annotated
from uuid import uuid4

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from operators.cluster_operator.cluster.world import Reach


class Settings(BaseSettings):
    """Seconds where nothing else is said."""

    model_config = SettingsConfigDict(
        env_prefix="KOK_", cli_parse_args=False, cli_kebab_case=True, use_attribute_docstrings=True, extra="ignore"
    )

    kubeconfig: str = ""
    """File to reach the meta cluster with; empty: the identity of the pod this runs in."""
    context: str = ""
    """Context of that file; empty: its current one."""
    own_namespace: str = "kok-system"
    """Where the lease and the sealed copies of root keys live."""
    reach: Reach = Reach.internal
    """How business APIs are reached: internal (by their Service) or external (by their endpoint, for an operator on a laptop)."""
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus ask the pod's address
    """Address of /healthz, /readyz and /metrics."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the same; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Clusters in work at the same time."""
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

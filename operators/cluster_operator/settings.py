"""Settings of the Cluster-Operator: flags (`--own-namespace`) over environment (`KOK_OWN_NAMESPACE`) over these defaults. Read once by main."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from operators.cluster_operator.cluster.world import Reach
from operators.cluster_operator.rollout.probing import IDLE
from operators.services.settings import OperatorSettings


class Settings(OperatorSettings):
    """What is the Cluster-Operator's alone."""

    own_namespace: str = "kok-system"
    """Where the lease and the sealed copies of root keys live."""
    reach: Reach = Reach.internal
    """How business APIs are reached: internal (by their Service) or external (by their endpoint, for an operator on a laptop)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Clusters in work at the same time."""
    idle_probe_seconds: Annotated[float, Field(ge=0, le=86_400)] = IDLE
    """Between two probe pods of a business cluster that no rollout looks at (longer in a fleet of more than 300); 0: none."""
    resume_from: Annotated[int, Field(ge=0)] = 100
    """Keys (a Cluster is two) from which on a restart does not look at once at what has not changed since it was right; smaller fleets take a moment."""
    prometheus_url: str = ""
    """Prometheus that business metrics of rollouts are asked of, for example http://prometheus.monitoring:9090; empty: there is none."""

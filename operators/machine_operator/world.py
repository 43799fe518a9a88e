"""Everything a pass reaches the world with: ports, cache, memory of this process, and who we are. Data; built by main, handed to both controllers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from operators.domain.machine.view import Times
from operators.engine.cache import ObjectCache
from operators.engine.leadership import Leadership
from operators.machine_operator.board import Board
from operators.machine_operator.jobs import Jobs
from operators.machine_operator.probes import Probes
from operators.ports.catalogue import CataloguePort
from operators.ports.danger import NodeDanger
from operators.ports.grants import GrantsPort
from operators.ports.kube import KubePort

FIELD_MANAGER = "kok-machine-operator"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose Machine-Operator this is. `ca_pem`: the business cluster's CA, from our own kubeconfig, which the Cluster-Operator wrote."""

    namespace: str
    cluster: str
    ca_pem: str
    endpoint: str = ""
    """URL of the business API server for hosts; empty: as the Cluster's spec says."""

    @property
    def requester(self) -> str:
        """Our name in OperationGrants."""
        return f"machine-operator/{self.cluster}"


@dataclass(frozen=True, slots=True)
class Servers:
    """The two API servers."""

    meta: KubePort
    business: KubePort


@dataclass(frozen=True, slots=True)
class Hands:
    """How hosts and nodes are looked at and changed, and what the catalogue says."""

    probes: Probes
    jobs: Jobs
    stagings: Jobs
    """Runs that only put artifacts into hosts' stores; a host may have one beside a job."""
    grants: GrantsPort
    danger: NodeDanger
    catalogue: CataloguePort


@dataclass(frozen=True, slots=True)
class World:
    """One process."""

    identity: Identity
    servers: Servers
    cache: ObjectCache
    hands: Hands
    board: Board
    leadership: Leadership
    now: Callable[[], datetime]
    times: Times = field(default_factory=Times)

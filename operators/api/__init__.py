"""The kinds of kok as pydantic models, and the CRDs made from them (`schema`). No logic beyond what one object can know of itself."""

from operators.api.base import API_VERSION, GROUP, VERSION, Condition, ConditionStatus, KindInfo, Model, ObjectMeta, Resource, Scope
from operators.api.budgets import OperationBudget
from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.hosts import HostClaim
from operators.api.machines import Machine
from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pools import MachinePool, MachinePoolRelease
from operators.api.risk import Ledger, OperationGrant
from operators.api.rollout import FleetRollout

KINDS: tuple[type[Resource], ...] = (
    Cluster,
    ClusterPackageVersion,
    ClusterRelease,
    FleetRollout,
    HostClaim,
    Ledger,
    Machine,
    MachinePackageVersion,
    MachinePool,
    MachinePoolRelease,
    OperationBudget,
    OperationGrant,
)
"""Every kind, alphabetical: what `make crds` writes."""

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "Cluster",
    "ClusterPackageVersion",
    "ClusterRelease",
    "Condition",
    "ConditionStatus",
    "FleetRollout",
    "HostClaim",
    "KindInfo",
    "Ledger",
    "Machine",
    "MachinePackageVersion",
    "MachinePool",
    "MachinePoolRelease",
    "Model",
    "ObjectMeta",
    "OperationBudget",
    "OperationGrant",
    "Resource",
    "Scope",
]

"""Views for tests: a machine that is right in every respect, and ways to make one thing different."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from operators.adapters.sim_ssh import report_as_wanted
from operators.api.hosts import Host, HostClaim
from operators.api.machines import Machine
from operators.api.packages import Effects, Unit
from operators.api.pending import Effect
from operators.api.pools import MachinePool
from operators.api.risk import Operation
from operators.domain.machine.drain import PodFacts
from operators.domain.machine.host import DesiredPackage, HostReport, Owner, PackageReport
from operators.domain.machine.node import NodeFacts, node_of
from operators.domain.machine.view import (
    Business,
    ClusterState,
    HeldGrant,
    JobPhase,
    JobState,
    MachineView,
    Ownership,
    Probe,
    Token,
    Wish,
)
from operators.errors import ErrorCode, KokError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOST = Host(name="m1", address="10.0.0.1", host_keys=("ssh-ed25519 AAAA",))
GRANTED = timedelta(seconds=5)


def pool(*hosts: Host, deleting: bool = False, **spec: Any) -> MachinePool:
    metadata: dict[str, Any] = {"name": "workers", "namespace": "demo", "uid": "pool-1", "finalizers": ["kok.dev/machines"]}
    if deleting:
        metadata["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    body = {"clusterName": "demo", "packages": {"follow": "Cluster"}, **spec}
    body["hosts"] = [host.model_dump(mode="json", by_alias=True, exclude_none=True) for host in hosts]
    return MachinePool.parse({"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePool", "metadata": metadata, "spec": body})


def claim(**changes: Any) -> HostClaim:
    spec = {
        "address": "10.0.0.1", "port": 22, "namespace": "demo", "cluster": "demo", "pool": "workers", "host": "m1", "poolUid": "pool-1",
        "claimedAt": "2026-03-01T11:00:00Z", "packages": ["containerd-1", "kubelet-1"],
        "connection": HOST.model_dump(mode="json", by_alias=True, exclude_none=True), **changes,
    }  # fmt: skip
    metadata = {"name": "c" * 64, "uid": "claim-1"}
    return HostClaim.parse({"apiVersion": "kok.dev/v1alpha1", "kind": "HostClaim", "metadata": metadata, "spec": spec})


def machine(**spec: Any) -> Machine:
    body = {"pool": "workers", "packages": ["containerd-1", "kubelet-1"], **spec}
    metadata = {"name": "m1", "uid": "machine-1", "generation": 3}
    return Machine.parse({"apiVersion": "kok.dev/v1alpha1", "kind": "Machine", "metadata": metadata, "spec": body})


def node(*, ready: str = "True", closed: bool = False, boot: str = "boot-1", opened: str = "boot-1", **spec: Any) -> NodeFacts:
    taints = [{"key": "kok.dev/not-ready", "effect": "NoSchedule"}] if closed else []
    annotations = {"kok.dev/opened-boot-id": opened} if opened else {}
    return node_of(
        {
            "metadata": {
                "name": "m1",
                "uid": "node-1",
                "resourceVersion": "7",
                "annotations": {**annotations, **spec.pop("annotations", {})},
            },
            "spec": {"taints": taints, **spec},
            "status": {"nodeInfo": {"bootID": boot}, "conditions": [{"type": "Ready", "status": ready, "message": "runtime is down"}]},
        }
    )


def package(name: str, component: str, order: int, effect: Effect = Effect.Restart) -> DesiredPackage:
    effects = Effects(version=effect, configuration=effect)
    return DesiredPackage(name, component, "1", order, effects, units=(Unit(name=f"{component}.service"),))


CONTAINERD, KUBELET = package("containerd-1", "containerd", 10), package("kubelet-1", "kubelet", 30)
DESIRED = (CONTAINERD, KUBELET)


def report(*packages: PackageReport, **changes: Any) -> HostReport:
    found = {each.component: each for each in packages or (report_as_wanted(CONTAINERD), report_as_wanted(KUBELET))}
    owner = Owner("claim-1", "demo", "workers", 1)
    base = HostReport("m1", "boot-1", "id", "Debian", 20 << 30, 40 << 30, owner, found, kubelet_credentials=True)
    return replace(base, **changes)


def probe(found: HostReport | None = None, *, error: KokError | None = None, at: datetime = NOW) -> Probe:
    return Probe(at, None if error else found or report(), error)


def refused() -> KokError:
    return KokError(ErrorCode.HostRefused, "m1 (10.0.0.1:22): Connection refused")


def job(phase: JobPhase = JobPhase.Finished, **changes: Any) -> JobState:
    return replace(JobState(phase, "work", NOW, 1, message="applies kubelet-1"), **changes)


def token(**changes: Any) -> Token:
    return replace(Token("abc123", "digest", NOW + timedelta(minutes=10)), **changes)


def grant(operation: Operation, workflow: str, *, ago: float | None = 5.0) -> HeldGrant:
    given = None if ago is None else NOW - timedelta(seconds=ago)
    return HeldGrant(f"{operation.value.lower()}-m1", operation, workflow, "", 0, given)


def pod(name: str = "web", *, marked: bool = False) -> PodFacts:
    return PodFacts("default", name, f"uid-{name}", marked, is_leaving=False)


def right(**changes: Any) -> MachineView:
    """A machine in service: nothing is left to do."""
    wish = Wish(pool(HOST), HOST, ("containerd-1", "kubelet-1"))
    business = Business(machine(), node())
    view = MachineView(NOW, "m1", ClusterState("demo"), wish, Ownership(claim()), DESIRED, business=business, probe=probe())
    return with_(view, **changes)


def with_(view: MachineView, **changes: Any) -> MachineView:
    """`node=`, `machine=`, `pods=`, `token=`, `requests=`, `reports=` go into business; the rest is the view's own."""
    inside = {name: changes.pop(name) for name in ("node", "machine", "pods", "token", "requests", "reports") if name in changes}
    return replace(view, business=replace(view.business, **inside), **changes)


def leaving(**changes: Any) -> MachineView:
    """The same machine, and no pool lists it any more."""
    return with_(right(wish=Wish(), pods=()), **changes)

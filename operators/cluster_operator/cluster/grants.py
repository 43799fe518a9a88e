"""Leave for what hurts a plane: ask the risk centre, act only with its answer, report the end. Any error on the way means no.

    grant = await acquire(world, cluster, Act(Operation.RestartMaster, "Pod", name, uid, workflow="roll", step="etcd", reason="..."))
    if isinstance(grant, Waits):
        return grant                              # `act` returns it: the pass ends with this sentence, a later one asks again
    await world.danger.end_pod(ref, uid, cluster.metadata.name, grant)    # re-reads the grant right before it acts

Asking again for the same act (uid, operation, workflow, step) finds the same OperationGrant, so a crash in between spends and acts once.
The end is reported by the ladder (domain/plane/grants.py) or by `settle`. Called by act and by the modules of single components.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operators.api.base import LABEL_COMPONENT
from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.risk import Decision, Operation, OperationGrant, Outcome, Purpose, Target
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.drift import difference, drops
from operators.domain.plane.hops import purpose_of
from operators.domain.plane.view import HeldGrant, PlaneView
from operators.domain.risk.identity import LABEL_ACT, act_id, at
from operators.engine.reconcile import Waits
from operators.errors import KokError
from operators.ports.grants import Grant, GrantRequest, OpId, Waiting
from operators.ports.kube import Manifest, Ref

MASTERS = ("apiserver", "controller-manager", "scheduler")
"""Components whose Deployments are rolled by a new template."""


@dataclass(frozen=True, slots=True)
class Act:
    """One dangerous act on a plane. `uid` is that of the very thing acted on: a pod made anew is another act."""

    operation: Operation
    kind: str
    """Pod (one etcd member), Deployment (apiserver, controllers), or Cluster (the plane as a whole)."""
    name: str
    uid: str
    workflow: str
    step: str
    reason: str
    purpose: Purpose = Purpose.Forward
    attempt: int = 0
    ttl_seconds: int = 900


def requester_of(cluster: str) -> str:
    """Who asks, as grants and denials show it."""
    return f"cluster-operator/{cluster}"


async def acquire(world: World, cluster: Cluster, act: Act) -> Grant | Waits:
    """Leave to do it, or one sentence why not (yet) and when to ask again. Raises nothing: what goes wrong is no leave."""
    metadata = cluster.metadata
    target = Target(kind=act.kind, name=act.name, cluster=metadata.name)
    request = GrantRequest(
        metadata.namespace or "",
        act.operation,
        target,
        act.uid,
        requester_of(metadata.name),
        act.workflow,
        act.step,
        act.attempt,
        act.reason,
        act.ttl_seconds,
        act.purpose,
    )
    answer = await world.grants.ask(request)
    if isinstance(answer, Waiting):
        return Waits(f"waits for leave: {answer.message}", answer.retry_after)
    return answer


async def settle(world: World, grant: Grant, outcome: Outcome) -> None:
    """Report the end of the act; frees the slot. Idempotent."""
    await world.grants.settle(grant, outcome)


async def settle_named(world: World, namespace: str, names: Iterable[str], outcome: Outcome) -> None:
    """Report the end of grants that the ladder found over; each by what is stored of it."""
    for name in names:
        found = world.cache.get(kinds.GRANT.ref(name, namespace))
        if found:
            await world.grants.settle(_grant_of(found), outcome)


def held_grants(world: World, cluster: Cluster) -> tuple[HeldGrant, ...]:
    """Granted to us for this Cluster and not reported, from the cache. One that is not understood is left to a person."""
    metadata = cluster.metadata
    manifests = world.cache.list(kinds.GRANT, namespace=metadata.namespace or "")
    mine = [each for each in manifests if (each.get("spec") or {}).get("requester") == requester_of(metadata.name)]
    return tuple(_held(world, grant) for grant in map(_understood, filter(_is_open, mine)) if grant)


def _understood(manifest: Manifest) -> OperationGrant | None:
    try:
        return OperationGrant.parse(manifest)
    except KokError:
        return None


def _is_open(manifest: Manifest) -> bool:
    status = manifest.get("status") or {}
    granted = status.get("decision") in (Decision.Granted, Decision.Unknown) and status.get("decidedAt")
    return bool(granted) and not status.get("settledAt") and not manifest["spec"].get("outcome")


def _held(world: World, grant: OperationGrant) -> HeldGrant:
    spec, metadata = grant.spec, grant.metadata
    target = spec.target
    kind = {"Pod": kinds.POD, "Deployment": kinds.DEPLOYMENT}.get(target.kind)
    found = world.cache.get(kind.ref(target.name, metadata.namespace or "")) if kind else None
    acted = metadata.labels.get(LABEL_ACT) != act_id(_uid_of(found) if found else "", spec.operation, spec.workflow, spec.step)
    decided = grant.status.decided_at if grant.status and grant.status.decided_at else ""
    return HeldGrant(metadata.name, spec.operation, target.kind, target.name, at(decided), acted, found is not None)


def _uid_of(manifest: Manifest) -> str:
    """What an act on it is named by: a pod by its uid, a Deployment also by the generation that it has before the act."""
    metadata = manifest["metadata"]
    return f"{metadata['uid']}:{metadata['generation']}" if manifest["kind"] == kinds.DEPLOYMENT.kind else str(metadata["uid"])


async def leave_to_roll(world: World, view: PlaneView, objects: Iterable[Manifest], reason: str) -> Mapping[Ref, Grant] | Waits:
    """Leave for every master of a living plane whose pods these objects exchange; the first that is not given is told.

    A hop from version to version holds its own leave for all of them. Whoever serves nobody is put right without.
    """
    leaves: dict[Ref, Grant] = {}
    for manifest in objects:
        ref = Ref.of(manifest)
        live = world.cache.get(ref)
        if live is None or not exchanges_pods(view, manifest, live):
            continue
        if (grant := await _of_hop(world, view)) is None:
            act = Act(Operation.RestartMaster, "Deployment", ref.name, _uid_of(live), "roll", "component", reason, purpose_of_change(view))
            answer = await acquire(world, view.cluster, act)
            if isinstance(answer, Waits):
                return answer
            grant = answer
        leaves[ref] = grant
    return leaves


def purpose_of_change(view: PlaneView) -> Purpose:
    """What a master is rolled for: the way back of a release, or anything else."""
    return purpose_of(view.release.spec) if isinstance(view.release, ClusterRelease) else Purpose.Forward


async def leave_to_delete_plane(world: World, view: PlaneView) -> Grant | Waits:
    """One leave for all masters and volumes of a plane; `end_part` re-reads it."""
    metadata = view.cluster.metadata
    why = f"Cluster {metadata.name} was deleted at {metadata.deletion_timestamp}"
    act = Act(Operation.DeletePlane, "Cluster", metadata.name, metadata.uid, workflow="delete", step="plane", reason=why, ttl_seconds=3600)
    return await acquire(world, view.cluster, act)


def exchanges_pods(view: PlaneView, manifest: Manifest, live: Manifest) -> bool:
    """Whether applying it makes new pods of a master that serves somebody."""
    component = (manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT, "")
    workload = view.workloads.get(component)
    if manifest["kind"] != kinds.DEPLOYMENT.kind or component not in MASTERS or workload is None or not workload.ready:
        return False
    wanted, there = manifest["spec"]["template"], live["spec"]["template"]
    return bool(difference(wanted, there)) or drops(wanted, there)


async def _of_hop(world: World, view: PlaneView) -> Grant | None:
    """The leave to move the plane as a whole, if it is held and still good."""
    for held in view.grants:
        found = world.cache.get(kinds.GRANT.ref(held.name, view.cluster.metadata.namespace or ""))
        if held.operation is Operation.UpgradePlane and found:
            grant = _grant_of(found)
            try:
                await world.grants.verify(grant, operation=grant.operation, target=held.target)
            except KokError:
                continue
            return grant
    return None


def _grant_of(manifest: Manifest) -> Grant:
    """Only to report an end with: every verb that acts verifies its own anew."""
    spec, metadata = manifest["spec"], manifest["metadata"]
    target = Target.model_validate(spec["target"])
    return Grant(OpId(metadata["name"]), metadata["namespace"], metadata["uid"], Operation(spec["operation"]), target)

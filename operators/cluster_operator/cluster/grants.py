"""Leave for what hurts a plane: ask the risk centre, act only with its answer, report the end. Any error on the way means no.

    grant = await acquire(world, cluster, Act(Operation.RestartMaster, "Pod", name, uid, workflow="roll", step="etcd", reason="..."))
    if isinstance(grant, Waits):
        return grant                              # `act` returns it: the pass ends with this sentence, a later one asks again
    await end_pod(world, ref, uid, grant)         # re-reads the grant right before it acts

Asking again for the same act (uid, operation, workflow, step) finds the same OperationGrant, so a crash in between spends and acts once.
The end is reported by the ladder (domain/plane/grants.py) or by `settle`. Called by act and by the modules of single components.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from operators.api.cluster import Cluster
from operators.api.risk import Decision, Operation, OperationGrant, Outcome, Purpose, Target
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.view import HeldGrant
from operators.domain.risk.identity import LABEL_ACT, act_id, at
from operators.engine.reconcile import Waits
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, GrantRequest, OpId, Waiting
from operators.ports.kube import Manifest, Preconditions, Ref

RESTARTING = frozenset({Operation.RestartMaster, Operation.UpgradePlane, Operation.RemoveEtcdMember})
"""Operations whose grant allows to end a master's pod or to change what it is made from."""


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


async def verify(world: World, grant: Grant, target: str) -> None:
    """Re-read right before acting. Raises KokError GrantInvalid unless it allows to restart that target now."""
    if grant.operation not in RESTARTING:
        raise KokError(
            ErrorCode.GrantInvalid,
            f"grant {grant.op_id} is for {grant.operation}, this needs one of {sorted(RESTARTING)}",
            "nothing was done",
        )
    await world.grants.verify(grant, operation=grant.operation, target=target)


async def end_pod(world: World, ref: Ref, uid: str, grant: Grant) -> None:
    """Delete the very pod that was seen, not its successor. Absent is success."""
    await verify(world, grant, ref.name if grant.target.kind == "Pod" else grant.target.name)
    await world.meta.delete(ref, preconditions=Preconditions(uid=uid))


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
    return tuple(_held(world, OperationGrant.parse(each)) for each in mine if _is_open(each))


def _is_open(manifest: Manifest) -> bool:
    status = manifest.get("status") or {}
    granted = status.get("decision") in (Decision.Granted, Decision.Unknown) and status.get("decidedAt")
    return bool(granted) and not status.get("settledAt") and not manifest["spec"].get("outcome")


def _held(world: World, grant: OperationGrant) -> HeldGrant:
    spec, metadata = grant.spec, grant.metadata
    pod = world.cache.get(kinds.POD.ref(spec.target.name, metadata.namespace or "")) if spec.target.kind == "Pod" else None
    uid = str(pod["metadata"]["uid"]) if pod else ""
    acted = metadata.labels.get(LABEL_ACT) != act_id(uid, spec.operation, spec.workflow, spec.step)
    decided = grant.status.decided_at if grant.status and grant.status.decided_at else ""
    return HeldGrant(metadata.name, spec.operation, spec.target.kind, spec.target.name, at(decided), acted, pod is not None)


def _grant_of(manifest: Manifest) -> Grant:
    """Only to report an end with: every verb that acts verifies its own anew."""
    spec, metadata = manifest["spec"], manifest["metadata"]
    target = Target.model_validate(spec["target"])
    return Grant(OpId(metadata["name"]), metadata["namespace"], metadata["uid"], Operation(spec["operation"]), target)

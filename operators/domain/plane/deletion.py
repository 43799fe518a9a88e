"""The rungs of a Cluster that is being deleted: first what acts on others, last what others need; one stage at a time. Pure.

Nothing is deleted while the Cluster is protected or machines still belong to it: their hosts are cleaned through this very plane. Masters and
volumes go only with leave for the whole of it; what remains then is worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from operators.api.base import LABEL_COMPONENT
from operators.api.risk import Operation, Outcome
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.steps import DeleteObjects, EndPlane, Release, SettleGrants, Stall, Step, Wait
from operators.domain.plane.view import PlaneView
from operators.errors import ErrorCode

STAGES = (("machine-operator", "prepull", "snapshot"), ("controller-manager", "scheduler"), ("apiserver",), ("etcd", "etcd-events"))
"""Each stage's pods are gone before the next one's are touched."""
RUNNING = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod")
OUTSIDE = "kok-system"


def blocked_deletion(view: PlaneView) -> Stall | Wait | None:
    """Why the plane has to stay for now; the next command is in the sentence."""
    name, namespace = view.cluster.metadata.name, view.cluster.metadata.namespace
    if view.cluster.spec.deletion_protection:
        return Stall(
            ErrorCode.DeletionProtected,
            f"spec.deletionProtection is true: nothing is deleted; if you mean it: "
            f'kubectl -n {namespace} patch clusters.kok.dev {name} --type=merge -p \'{{"spec":{{"deletionProtection":false}}}}\'',
        )
    for pool in (each for each in view.pools if each.cluster == name):
        if pool.deleting:
            return Wait(
                "Deleting", f"waits until MachinePool {pool.name} has given its hosts back: {pool.message or 'being cleaned'}", after=5.0
            )
        return Wait(
            "Deleting",
            f"waits: MachinePool {pool.name} still exists; kubectl -n {namespace} delete machinepools.kok.dev {pool.name}",
            after=5.0,
            word="PoolsRemain",
        )
    if view.claims:
        return Wait(
            "Deleting",
            f"waits until host {view.claims[0]} is cleaned; to give it up as it is: kubectl delete its HostClaim",
            after=5.0,
        )
    return None


def deletion_step(view: PlaneView) -> Step:
    """Machine-Operator, controllers, API server, etcd, volumes, the rest of the namespace, what lies outside of it, the finalizer."""
    if step := _given_back(view):
        return step
    name = view.cluster.metadata.namespace
    within = [each for each in view.remains if each["metadata"].get("namespace") == name]
    if within and view.namespace_phase != "Active":
        return Wait("Deleting", f"waits until the end of namespace {name} has taken what is in it: {_listed(within)}", after=2.0)
    for stage in STAGES:
        running = [each for each in view.remains if _component(each) in stage and each["kind"] in RUNNING]
        if running:
            return _remove(view, running, " and ".join(stage), by=EndPlane)
    if volumes := [each for each in view.remains if each["kind"] == "PersistentVolumeClaim"]:
        return _remove(view, volumes, "the volumes of etcd", by=EndPlane)
    if view.grants:
        names = tuple(grant.name for grant in view.grants)
        return SettleGrants(names, Outcome.Succeeded, f"reports the end of {Operation.DeletePlane}: masters and volumes are gone")
    if within:
        return _remove(view, within, "what is left in the namespace", by=DeleteObjects)
    if view.remains:
        return _remove(view, list(view.remains), "what lies outside of the namespace", by=DeleteObjects)
    return Release("everything of this Cluster is gone")


def _given_back(view: PlaneView) -> SettleGrants | None:
    """What was begun on single masters is over with the plane; its leave would be in the way of the leave to end it."""
    others = tuple(grant.name for grant in view.grants if grant.operation is not Operation.DeletePlane)
    return (
        SettleGrants(others, Outcome.Cancelled, "gives back its leave for single acts: the whole plane is being deleted")
        if others
        else None
    )


def _remove(view: PlaneView, objects: Sequence[Manifest], what: str, *, by: type[DeleteObjects | EndPlane]) -> Step:
    """Delete those that nobody has deleted yet; pods go with their owners, except those that have none."""
    left = f"{_listed(objects)} of {len(view.remains)} objects in all" if len(view.remains) > 1 else _listed(objects)
    fresh = tuple(each for each in objects if not each["metadata"].get("deletionTimestamp") and not _has_owner(each))
    if fresh:
        return by(fresh, f"deleting {what}: {left}")
    return Wait("Deleting", f"waits until {what} has ended: {left}")


def _has_owner(manifest: Manifest) -> bool:
    return bool(manifest["metadata"].get("ownerReferences"))


def _listed(objects: Iterable[Manifest], limit: int = 3) -> str:
    names = [str(ObjectId.of(each)) for each in objects]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _component(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT, ""))

"""What a plane needs next: one rung at a time, first match wins, from what was observed. No I/O; called by cluster_operator.cluster.

A plane that never lived gets etcd and API servers in one step: their pods wait for each other, and nothing is lost by starting them together.
What can only ask an API server is made when one answers: before that it takes CPU from it, and asks ever more slowly (measured: six seconds).
A plane that lives is changed in order: etcd, API server, controllers, each only while the one below it is well.
"""

from __future__ import annotations

import hashlib

from operators.api.cluster import ChangePolicy
from operators.api.cluster_release import Authorisation, AuthorisedBy, ClusterRelease
from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.deletion import blocked_deletion, deletion_step
from operators.domain.plane.desired import KONNECTIVITY
from operators.domain.plane.drift import ObjectId, difference
from operators.domain.plane.etcd_identity import first_records
from operators.domain.plane.etcd_rungs import etcd_size, first_quorum, member_amiss, member_step, removed_members, stranded
from operators.domain.plane.grants import finished_grants, leftover_grants
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.keys import leaf_certificates, root_keys
from operators.domain.plane.node_ports import free_ports, free_to_begin, is_refused
from operators.domain.plane.overdue import in_time
from operators.domain.plane.ranges import overlap
from operators.domain.plane.release import authorised_wish, refused_birth, refused_wish
from operators.domain.plane.steps import (
    CREATING_SECONDS,
    POLL_SECONDS,
    Admit,
    ApplyInside,
    ApplyObjects,
    Authorise,
    DeleteObjects,
    Done,
    Paused,
    PruneInside,
    RecordBootstrap,
    Stall,
    Step,
    Wait,
    pace_of,
)
from operators.domain.plane.surplus import of_plane
from operators.domain.plane.upgrading import going_down, hop, prepared_no_more, turn
from operators.domain.plane.view import Plan, PlaneView, Unknown
from operators.domain.plane.workloads import component_of
from operators.errors import ErrorCode, KokError

FINALIZER = "kok.dev/cluster"
MACHINE_OPERATOR = "machine-operator"
NOT_MASTERS = (MACHINE_OPERATOR, KONNECTIVITY)
"""What the API server and the controllers do without."""
WORKLOADS = ("StatefulSet", "Deployment")
CLIENTS = ("controller-manager", "scheduler", KONNECTIVITY)


def next_step(view: PlaneView) -> Step:
    """The first rung with something to do; the order is what would hurt most if it waited."""
    if view.cluster.spec.paused:
        return Paused("spec.paused is true: nothing is changed until it is false")
    if not view.cluster.deleting:
        return in_time(view, _climb(view))
    if not (blocked := blocked_deletion(view)):
        return deletion_step(view)
    step = _climb(view)
    return blocked if isinstance(step, Done) else step


def _climb(view: PlaneView) -> Step:
    for rung in LADDER:
        if step := rung(view):
            return step
    assert isinstance(view.package, ClusterPackageVersion), "sound_wish lets nothing else pass"
    return Done(f"all components match {view.package.metadata.name}", after=_poll_after(view))


def _poll_after(view: PlaneView) -> float:
    """A minute (longer in a large fleet), give or take a twelfth by the Cluster's uid, so that a fleet is not asked all at once."""
    spread = int(hashlib.sha256(view.cluster.metadata.uid.encode()).hexdigest()[:4], 16) % 1000 / 100.0
    return (POLL_SECONDS - 5.0 + spread) * pace_of(view.fleet)


def readable(view: PlaneView) -> Step | None:
    """Nothing is decided on a world that could not be read."""
    for part in (view.release, view.package, view.endpoint):
        if isinstance(part, Unknown):
            return Wait("", part.reason, after=5.0)
    return None


def single(view: PlaneView) -> Step | None:
    """One Cluster per namespace: names and isolation are per namespace."""
    if not view.older:
        return None
    name, namespace = view.cluster.metadata.name, view.cluster.metadata.namespace
    return Stall(
        ErrorCode.ClusterConflict,
        f"namespace {namespace} holds Cluster {view.older} already, and a namespace holds one Cluster; "
        f"delete this one (kubectl -n {namespace} delete clusters.kok.dev {name}) and create it in a namespace of its own",
    )


def sound_wish(view: PlaneView) -> Step | None:
    """A wish that cannot be rendered is refused before anything is touched."""
    if view.package is None:
        released = view.release if isinstance(view.release, ClusterRelease) else None
        wanted = released.spec.plane_package if released else view.cluster.spec.package_version
        return Stall(
            ErrorCode.PackageMissing,
            f"spec.packageVersion: ClusterPackageVersion {wanted} does not exist; kubectl get clusterpackageversions.kok.dev lists those that do",
        )
    if isinstance(view.plan, KokError):
        error = view.plan
        return Stall(error.code, error.message + (f"; {error.hint}" if error.hint else ""))
    return None


def reachable_ranges(view: PlaneView) -> Step | None:
    """Before a plane is made: nodes must not take the API server's address for one of their pods or Services."""
    if view.release is not None or view.endpoint is None or isinstance(view.endpoint, Unknown):
        return None
    network, host = view.cluster.spec.network, view.endpoint.host
    field, address = overlap(network, view.endpoint.addresses)
    if not field:
        return None
    held = network.pod_cidr if field == "podCIDR" else network.service_cidr
    return Stall(
        ErrorCode.NetworkOverlap,
        f"spec.network.{field} {held} holds {address}, the address of spec.endpoint.host {host}: nodes would not find the API server; "
        f"set another host, or delete the Cluster and create it with another range",
    )


def in_hand(view: PlaneView) -> Step | None:
    """The finalizer first: from then on nothing of this Cluster can be left behind."""
    name = view.cluster.metadata.name
    if view.cluster.deleting or (FINALIZER in view.cluster.metadata.finalizers and view.namespace_label == name):
        return None
    return Admit(f"taking Cluster {name} in hand")


def authorised(view: PlaneView) -> Step | None:
    """The first version of a Cluster is authorised by its spec, whatever the policy: there is nothing yet to roll."""
    if view.release is not None:
        return None
    version = view.cluster.spec.package_version
    direct = view.cluster.spec.change_policy is ChangePolicy.Direct
    why = "the spec asks for it and changePolicy is Direct" if direct else "the first version of a Cluster needs no rollout"
    stamp = view.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Authorise(
        Authorisation(package_version=version, by=AuthorisedBy.Spec, at=stamp, reason=why), reason=f"{version} is authorised: {why}"
    )


def endpoint(view: PlaneView) -> Step | None:
    """The Service first: a load balancer says its address only then, and certificates need it."""
    if view.endpoint is not None:
        return None
    if step := _apply_differing(view, "endpoint", _components(view, "isolation", "endpoint")):
        return step
    return Wait("Apiserver", view.endpoint_waits or "the endpoint has no address yet", after=10.0)


def missing_objects(view: PlaneView) -> Step | None:
    """What is not there is created at once, all components together; small objects that differ are put back with it."""
    objects = _components(view, *(each for each in _plan(view).components if each != MACHINE_OPERATOR))
    wanted = [each for each in objects if _id(each) not in view.objects or each["kind"] not in WORKLOADS]
    return _apply_differing(view, "masters", [each for each in wanted if not _is_early(view, each) and not is_refused(view, each)])


def _is_early(view: PlaneView, manifest: Manifest) -> bool:
    """Whether it is a workload that does not exist yet and would have no API server to ask."""
    if manifest["kind"] not in WORKLOADS or component_of(manifest) not in CLIENTS or _id(manifest) in view.objects:
        return False
    apiserver = view.workloads.get("apiserver")
    return apiserver is None or not apiserver.ready


def etcd(view: PlaneView) -> Step | None:
    """Put etcd's StatefulSets right, mend and roll its members one at a time, remember the first quorum."""
    names = [name for name in ("etcd", "etcd-events") if name in _plan(view).components]
    for name in names:
        if step := _apply_differing(view, name, _components(view, name)) or member_step(view, name):
            return step
    if began := first_quorum(view):
        records = first_records(view.cluster, began)
        return RecordBootstrap(
            records, f"{', '.join(view.unrecorded)} has its first quorum: an empty member never starts a new one from now on"
        )
    return None


def apiserver(view: PlaneView) -> Step | None:
    """Change it only on a whole etcd, each of its members well, unless it serves nobody anyway.

    One failure domain at a time: a plane that has lost a member of its etcd is not made to lose an API server by us. etcd waits for no API server,
    so its own mending goes on, and an API server that is down is mended whatever its etcd is like.
    """
    return _change_in_order(view, "apiserver", below=("etcd", "etcd-events"), amiss=member_amiss(view))


def controllers(view: PlaneView) -> Step | None:
    """Change them only above an API server that is up."""
    return _change_in_order(view, "controller-manager", below=("apiserver",)) or _change_in_order(view, "scheduler", below=("apiserver",))


def konnectivity(view: PlaneView) -> Step | None:
    """Its own Deployment; whether agents are connected is shown, but nothing waits for it."""
    return _apply_differing(view, KONNECTIVITY, [each for each in _components(view, KONNECTIVITY) if not _is_early(view, each)])


def _change_in_order(view: PlaneView, name: str, *, below: tuple[str, ...], amiss: str = "") -> Step | None:
    step = _apply_differing(view, name, [each for each in _components(view, name) if not _is_early(view, each)])
    if step is None:
        return None
    own = view.workloads.get(name)
    if own and own.ready and (missing := _shortfall(view, *below) or amiss):
        return Wait(name, f"{name} is changed when what it stands on is whole: {missing}")
    return step


def masters_up(view: PlaneView) -> Step | None:
    """Everything is as rendered; now their pods have to come up, and the API to answer."""
    if waiting := next(((name, why) for name, why in _plan(view).waiting.items() if name not in NOT_MASTERS), None):
        return Wait(waiting[0], waiting[1])
    masters = [name for name in _plan(view).components if name not in NOT_MASTERS]
    if isinstance(view.business, Unknown):
        return Wait("Apiserver", _shortfall(view, *masters) or view.business.reason, after=CREATING_SECONDS)
    return None


def inside_objects(view: PlaneView) -> Step | None:
    """Put back what of ours inside the business cluster is missing or differs."""
    if isinstance(view.business, Unknown) or not view.business.missing:
        return None
    missing = set(view.business.missing)
    objects = tuple(each for each in _plan(view).inside if _id(each) in missing)
    more = f" and {len(objects) - 1} more" if len(objects) > 1 else ""
    return ApplyInside(objects, f"inside the cluster: {view.business.differing}{more} is put in place")


def surplus(view: PlaneView) -> Step | None:
    """Take away what the plan no longer has; never while a part of the plan is only not known yet."""
    if isinstance(view.business, Unknown) or (view.tunnel_waits and _has_tunnel(view)) or _plan(view).waiting:
        return None
    if left := of_plane(view.objects.values(), _plan(view).components, view.cluster.metadata.name):
        return DeleteObjects(left, f"{_id(left[0])}, which kok made, is not of this package version: removed with {len(left) - 1} more")
    objects = view.business.surplus
    if not objects:
        return None
    more = f" and {len(objects) - 1} more" if len(objects) > 1 else ""
    return PruneInside(objects, f"inside the cluster: {_id(objects[0])}{more}, which kok made, is not of this package version: removed")


def _has_tunnel(view: PlaneView) -> bool:
    """Whether the package brings konnectivity: one that does not waits for no address of it."""
    return isinstance(view.package, ClusterPackageVersion) and view.package.spec.components.konnectivity is not None


def machine_operator(view: PlaneView) -> Step | None:
    """Bring it up above an API that works, with the key it needs."""
    if view.cluster.spec.machine_access is None:
        return None
    if view.ssh_secret:
        return Stall(view.ssh_code, view.ssh_secret, after=10.0)
    if why := _plan(view).waiting.get(MACHINE_OPERATOR):
        return Wait("MachineOperator", why)
    return _apply_differing(view, MACHINE_OPERATOR, _components(view, MACHINE_OPERATOR))


def everything_up(view: PlaneView) -> Step | None:
    """All is applied; the slow parts may still be coming."""
    missing = _shortfall(view, *(name for name in _plan(view).components if name != KONNECTIVITY))
    return Wait("", missing) if missing else None


LADDER = (
    readable,
    single,
    sound_wish,
    reachable_ranges,
    refused_birth,
    in_hand,
    finished_grants,
    authorised,
    authorised_wish,
    turn,
    root_keys,
    endpoint,
    leaf_certificates,
    free_to_begin,
    missing_objects,
    stranded,
    removed_members,
    etcd,
    going_down,
    apiserver,
    controllers,
    konnectivity,
    free_ports,
    masters_up,
    inside_objects,
    surplus,
    machine_operator,
    etcd_size,
    everything_up,
    prepared_no_more,
    hop,
    refused_wish,
    leftover_grants,
)


def _plan(view: PlaneView) -> Plan:
    return view.plan if isinstance(view.plan, Plan) else Plan({}, {})


def _components(view: PlaneView, *names: str) -> list[Manifest]:
    return [manifest for name in names for manifest in _plan(view).components.get(name, ())]


def _id(manifest: Manifest) -> ObjectId:
    return ObjectId.of(manifest)


def _apply_differing(view: PlaneView, stage: str, objects: list[Manifest]) -> ApplyObjects | None:
    """The step that makes them right; its sentence names the first and says what differs."""
    wrong = [(each, _fault(view, each)) for each in objects]
    wrong = [(each, fault) for each, fault in wrong if fault]
    if not wrong:
        return None
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return ApplyObjects(stage, tuple(each for each, _ in wrong), f"{_id(wrong[0][0])}{more} {wrong[0][1]}: put in place")


def _fault(view: PlaneView, manifest: Manifest) -> str:
    live = view.objects.get(_id(manifest))
    if live is None:
        return "does not exist"
    path = difference(manifest, live)
    return f"differs at {path}" if path else ""


def _is_up(view: PlaneView, name: str) -> bool:
    return name in view.workloads and view.workloads[name].is_up


def _shortfall(view: PlaneView, *names: str) -> str:
    """Words for the first of these workloads that is not up."""
    return next((view.workloads[name].shortfall for name in names if name in view.workloads and not _is_up(view, name)), "")

"""What a Cluster shows of itself: one line per component, one condition per stage, and Ready, Reconciling, Stalled. Pure.

Derived anew at every pass from what was observed and what the step says; no decision reads it. Equal to what is shown = nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from operators.api.base import Condition, ConditionStatus
from operators.api.cluster import ClusterStatus, ComponentStatus
from operators.domain.machine.pending import sum_of
from operators.domain.plane.desired import KONNECTIVITY
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.node_ports import own_url
from operators.domain.plane.release_words import hop_phase, release_verdict
from operators.domain.plane.steps import Done, Paused, Stall, Step, Wait
from operators.domain.plane.tunnel import tunnel_verdict
from operators.domain.plane.view import Plan, PlaneView, Unknown, Workload
from operators.errors import ErrorCode, KokError

Verdict = tuple[ConditionStatus, str, str]
"""Status, reason, message of a condition."""
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
MESSAGE_LIMIT, TEXT_LIMIT = 4096, 1024
RETRIED_AT_ONCE = frozenset({ErrorCode.Conflict, ErrorCode.AlreadyExists})
"""Somebody was quicker; the next pass sees what they wrote. Nothing to show."""


def status_of(view: PlaneView, step: Step, error: KokError | None) -> Manifest:
    """The whole status after this pass; `error` if the step failed."""
    words = error.message if error and error.code not in RETRIED_AT_ONCE else step.reason
    status = ClusterStatus(
        observed_generation=view.cluster.metadata.generation,
        phase=_phase(view, step),
        message=words[:TEXT_LIMIT],
        kubernetes_version=view.business.version
        if not isinstance(view.business, Unknown)
        else str(view.shown.get("kubernetesVersion", "")),
        endpoint=own_url(view),
        package_version=view.release.spec.current.package_version if view.release and not isinstance(view.release, Unknown) else "",
        components=tuple(_line(view, workload) for workload in view.workloads.values()),
        machines=sum(pool.machines for pool in view.pools),
        machines_ready=sum(pool.ready for pool in view.pools),
        pending=sum_of(change for pool in view.pools for change in pool.pending),
        conditions=tuple(_conditions(view, step, error, words)),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _phase(view: PlaneView, step: Step) -> str:
    """One word: the rung in hand, as people call it."""
    if isinstance(step, Paused):
        return "Paused"
    if view.cluster.deleting:
        return "Deleting"
    if isinstance(step, Stall):
        return "Stalled"
    if isinstance(step, Done):
        return "Ready"
    if hop := hop_phase(view):
        return hop
    was_ready = any(each.get("type") == "Ready" and each.get("reason") != "Creating" for each in view.shown.get("conditions", ()))
    return "Repairing" if was_ready and not view.unrecorded else "Creating"


def _line(view: PlaneView, workload: Workload) -> ComponentStatus:
    """One component; why konnectivity is not ready is what TunnelReady says: without a node it cannot be."""
    waits_for_agents = workload.component == KONNECTIVITY and workload.shortfall and not workload.trouble
    return ComponentStatus(
        name=workload.component,
        ready=min(workload.ready, workload.wanted),
        wanted=workload.wanted,
        message=(tunnel_verdict(view)[2] if waits_for_agents else workload.shortfall)[:TEXT_LIMIT],
    )


def _conditions(view: PlaneView, step: Step, error: KokError | None, words: str) -> Iterable[Condition]:
    verdicts: dict[str, Verdict] = {
        **_summary(view, step, error, words),
        "KeysReady": _keys(view),
        "EtcdReady": _up(view, "etcd", "etcd-events"),
        "ApiserverReady": _apiserver(view),
        "ControllersReady": _up(view, "controller-manager", "scheduler"),
        "InsideReady": _inside(view),
        "TunnelReady": tunnel_verdict(view),
        "MachineOperatorReady": _machine_operator(view),
        "ReleaseMatchesWish": release_verdict(view, step),
    }
    shown = {each["type"]: each for each in view.shown.get("conditions", ())}
    stamp = view.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    for kind, (state, reason, message) in verdicts.items():
        before: Mapping[str, Any] = shown.get(kind, {})
        yield Condition(
            type=kind,
            status=state,
            reason=reason,
            message=message[:MESSAGE_LIMIT],
            observed_generation=view.cluster.metadata.generation,
            last_transition_time=before["lastTransitionTime"] if before.get("status") == state else stamp,
        )


def _summary(view: PlaneView, step: Step, error: KokError | None, words: str) -> dict[str, Verdict]:
    """Ready, Reconciling and Stalled, as kstatus reads them: a healthy object shows the first as True and the others as False."""
    if isinstance(step, Done):
        return {"Ready": (TRUE, "Ready", words), "Reconciling": (FALSE, "Done", ""), "Stalled": (FALSE, "Done", "")}
    failed = error is not None and error.code not in RETRIED_AT_ONCE
    waits_as = step.word if isinstance(step, Wait) else ""
    reason = str(error.code) if error and failed else str(step.code) if isinstance(step, Stall) else waits_as or _phase(view, step)
    if isinstance(step, Stall):
        return {"Ready": (FALSE, reason, words), "Reconciling": (FALSE, reason, words), "Stalled": (TRUE, reason, words)}
    moving: Verdict = (FALSE, reason, words) if isinstance(step, Paused) else (TRUE, reason, words)
    return {"Ready": (FALSE, reason, words), "Reconciling": moving, "Stalled": (FALSE, "Progressing", "")}


def _keys(view: PlaneView) -> Verdict:
    if view.roots is None:
        return UNKNOWN, "NotRead", "the keys have not been looked at"
    if view.roots.faults:
        name, why = next(iter(view.roots.faults.items()))
        return FALSE, "RootKeysMissing", f"{name}: {why}"
    if view.leaves:
        return FALSE, "LeavesMissing", f"{view.leaves[0].spec.secret}: {view.leaves[0].reason}"
    if view.endpoint is None or isinstance(view.endpoint, Unknown):
        return FALSE, "NoEndpoint", view.endpoint.reason if view.endpoint else view.endpoint_waits
    return TRUE, "Sound", "root keys and leaves are sound"


def _up(view: PlaneView, *names: str) -> Verdict:
    """Whether all of these workloads, where they are planned, are up."""
    found = [view.workloads[name] for name in names if name in view.workloads]
    planned = [name for name in names if isinstance(view.plan, Plan) and name in view.plan.components]
    missing = [name for name in planned if name not in view.workloads]
    if missing or not found:
        return FALSE, "Missing", f"{(missing or list(names))[0]} does not exist yet"
    words = next(filter(None, (workload.shortfall for workload in found)), "")
    if words:
        return FALSE, "NotUp", words
    return TRUE, "Up", ", ".join(f"{each.component} {each.ready}/{each.wanted}" for each in found)


def _apiserver(view: PlaneView) -> Verdict:
    state, reason, message = _up(view, "apiserver")
    if isinstance(view.business, Unknown):
        return FALSE, "NotAnswering" if state is TRUE else reason, view.business.reason if state is TRUE else message
    return state, reason, message


def _inside(view: PlaneView) -> Verdict:
    if isinstance(view.business, Unknown):
        return UNKNOWN, "NotRead", view.business.reason
    if view.business.missing:
        return FALSE, "Differs", view.business.differing
    return TRUE, "Matches", "all objects of kok inside the cluster are in place"


def _machine_operator(view: PlaneView) -> Verdict:
    if view.cluster.spec.machine_access is None:
        return TRUE, "NotAsked", "spec.machineAccess is not set: this cluster has no Machine-Operator"
    if view.ssh_secret:
        return FALSE, str(view.ssh_code), view.ssh_secret
    return _up(view, "machine-operator")


def stage_of(step: Step) -> str:
    """The stage that a wait is about; empty for other steps."""
    return step.stage if isinstance(step, Wait) else ""

"""Grants that a plane's acts hold now, and when they are over. Pure; rungs of the ladder. Asking is cluster_operator.cluster.grants.

A grant ends when its target is seen as it should be again, never because time passed; one that nobody used is given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from operators.api.risk import Outcome
from operators.domain.plane.steps import SettleGrants
from operators.domain.plane.view import HeldGrant, PlaneView

OF_ONE = ("Pod", "Deployment")
"""Targets that are one part of a plane."""
UNUSED_FOR = timedelta(seconds=60)
"""A grant is used within seconds; what was not used by then is not wanted any more, and is asked for again if it is."""


def finished_grants(view: PlaneView) -> SettleGrants | None:
    """Report the end of acts whose target is up again, and give back what nobody used. Of a plane as a whole who moves it reports."""
    done = [grant for grant in view.grants if grant.acted and _is_up(view, grant)]
    if done:
        return _settle(done, Outcome.Succeeded, "is up again")
    unused = [grant for grant in view.grants if grant.kind in OF_ONE and not grant.acted and view.now - grant.granted_at >= UNUSED_FOR]
    return _settle(unused, Outcome.Cancelled, "was not touched") if unused else None


def leftover_grants(view: PlaneView) -> SettleGrants | None:
    """Everything is as it should be, so every act is over."""
    return _settle(view.grants, Outcome.Succeeded, "is as it should be") if view.grants else None


def _settle(grants: Iterable[HeldGrant], outcome: Outcome, words: str) -> SettleGrants:
    chosen = tuple(grants)
    targets = ", ".join(f"{grant.kind} {grant.target}" for grant in chosen)
    reason = f"reports the end of {chosen[0].operation}: {targets} {words}"
    return SettleGrants(tuple(grant.name for grant in chosen), outcome, reason)


def _is_up(view: PlaneView, grant: HeldGrant) -> bool:
    """The new pod is there, and no workload misses it; the Deployment is whole, of its last spec."""
    if grant.kind == "Deployment":
        workload = view.workloads.get(grant.target.removeprefix(f"{view.cluster.metadata.name}-"))
        return grant.is_there and workload is not None and workload.is_up
    return grant.kind == "Pod" and grant.is_there and not any(grant.target in workload.unready for workload in view.workloads.values())

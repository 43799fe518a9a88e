"""Grants that a plane's acts hold now, and when they are over. Pure; rungs of the ladder. Asking is cluster_operator.cluster.grants.

A grant ends when its target is seen as it should be again, never because time passed; one that nobody used is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from operators.api.cluster_release import AuthorisedBy, ClusterRelease
from operators.api.risk import Operation, Outcome
from operators.domain.plane.steps import SettleGrants
from operators.domain.plane.view import HeldGrant, PlaneView
from operators.domain.risk.identity import at

OF_ONE = ("Pod", "Deployment")
"""Targets that are one part of a plane."""
UNUSED_FOR = timedelta(seconds=60)
"""A grant is used within seconds; what was not used by then is not wanted any more, and is asked for again if it is."""
UP_WITHIN = timedelta(minutes=5)
"""A master that was not up by then, when it was rolled once more, had failed; one that was rolled again sooner had no time to."""
WORDS = {Outcome.Succeeded: "is up again", Outcome.Failed: "did not come up", Outcome.Cancelled: "was rolled again meanwhile"}


def finished_grants(view: PlaneView) -> SettleGrants | None:
    """Report the end of acts whose target is up again, and give back what nobody used. Of a plane as a whole who moves it reports."""
    done = [grant for grant in view.grants if grant.acted and _is_up(view, grant)]
    if done:
        return next(
            _settle(grants, outcome, WORDS[outcome]) for outcome, grants in _by_outcome(done, lambda grant: _end_of_roll(grant, done))
        )
    unused = [grant for grant in view.grants if grant.kind in OF_ONE and not grant.acted and view.now - grant.granted_at >= UNUSED_FOR]
    return _settle(unused, Outcome.Cancelled, "was not touched") if unused else None


def leftover_grants(view: PlaneView) -> SettleGrants | None:
    """Everything is as it should be, so every act is over. A change that was taken back has failed, one that somebody wished otherwise is cancelled."""
    words = {Outcome.Failed: "was taken back", Outcome.Cancelled: "was wished otherwise meanwhile"}
    ends = _by_outcome(view.grants, lambda grant: _end_of(view, grant))
    return next((_settle(grants, outcome, words.get(outcome, "is as it should be")) for outcome, grants in ends), None)


def _by_outcome(grants: Iterable[HeldGrant], end_of: Callable[[HeldGrant], Outcome]) -> Iterable[tuple[Outcome, list[HeldGrant]]]:
    """By how they ended, those that came to nothing first: what they are judged by is a later grant, which has to be there still."""
    ends: dict[Outcome, list[HeldGrant]] = {}
    for grant in grants:
        ends.setdefault(end_of(grant), []).append(grant)
    return sorted(ends.items(), key=lambda end: end[0] is Outcome.Succeeded)


def _end_of_roll(grant: HeldGrant, done: Iterable[HeldGrant]) -> Outcome:
    """How the roll of a part ended that is up now: where it was rolled again before it was up, the earlier roll is not what brought it there."""
    later = [
        other.granted_at
        for other in done
        if (other.kind, other.target) == (grant.kind, grant.target) and other.granted_at > grant.granted_at
    ]
    if not later:
        return Outcome.Succeeded
    return Outcome.Failed if min(later) - grant.granted_at >= UP_WITHIN else Outcome.Cancelled


def _end_of(view: PlaneView, grant: HeldGrant) -> Outcome:
    """How a grant ended, of a plane that is whole again: leave to upgrade is for what was authorised when it was given."""
    if grant.operation is not Operation.UpgradePlane or not isinstance(view.release, ClusterRelease):
        return Outcome.Succeeded
    current = view.release.spec.current
    if grant.granted_at >= at(current.at):
        return Outcome.Succeeded
    return Outcome.Failed if current.by is AuthorisedBy.Undo else Outcome.Cancelled


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

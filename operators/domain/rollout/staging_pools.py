"""Artifacts are on the hosts before the window opens: what a rollout wishes of pools while it waits, and how far that is. Pure.

A rollout of a machine package wishes it of its pools; one of planes wishes of the pools that follow its Clusters what the version brings to their hosts.
A wish (MachinePoolRelease.spec.staging) authorises nothing; the pool's Machine-Operator puts the artifacts into the stores of its hosts and counts those
that have them. Nothing waits for it: a host gets what it lacks in the run that changes it. A wish stands until the rollout has ended or goes back, for
what was staged is taken out when nobody wishes it; if nobody renews it, it runs out. Called by cluster_operator.rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.pools import MachinePoolRelease, StagingWish
from operators.api.rollout import Order
from operators.domain.machine.wish import wished_packages
from operators.domain.risk.identity import at, stamp
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.pools import PoolSeen, brought_by
from operators.domain.rollout.staging import waits_for_a_window
from operators.domain.rollout.story import stages_of
from operators.domain.rollout.view import RolloutView, Self
from operators.errors import KokError

LASTS = timedelta(days=7)
"""So long a wish stands without being renewed."""
AT_ONCE = 50
"""Pools of one rollout that get their artifacts at a time."""
PATIENCE = timedelta(minutes=30)
"""A pool that has not come to its end by then keeps no other from beginning."""
Wishes = Mapping[str, tuple[StagingWish, ...]]
"""Pool -> all that shall be wished of it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A pool, and the MachinePackageVersions that the rollout will bring to its hosts."""

    seen: PoolSeen
    packages: tuple[str, ...]


def targets_of(view: RolloutView, pools: Mapping[str, PoolSeen], catalogue: Catalogue) -> tuple[Target, ...]:
    """In the order of the plan; pools that are gone and those that get nothing are left out."""
    keys = [member.key for stage in stages_of(view.plan, view.story) for member in stage.members]
    if view.spec.change.of_machines:
        return tuple(Target(pools[key], (view.plan.to,)) for key in keys if key in pools)
    place = {key: number for number, key in enumerate(keys)}
    own = sorted((seen for seen in pools.values() if seen.cluster in place), key=lambda seen: (place[seen.cluster], seen.key))
    found = (Target(seen, _brought(seen, view.plan.to, catalogue)) for seen in own)
    return tuple(target for target in found if target.packages)


def _brought(seen: PoolSeen, to: str, catalogue: Catalogue) -> tuple[str, ...]:
    """What a version of planes brings to hosts that follow it, and not every one of them is authorised for yet."""
    package = catalogue.planes.get(to)
    if package is None or seen.release is None or seen.pool.spec.packages.explicit is not None:
        return ()
    try:
        wished = wished_packages(seen.pool, brought_by(package, seen.owner), catalogue.machines)
    except KokError:
        return ()  # its own operator says what is wrong with it
    had = [set(host.packages) for host in seen.release.spec.hosts]
    return tuple(name for name in wished if not had or any(name not in each for each in had))


def next_wishes(own: Self, view: RolloutView, targets: Sequence[Target], pools: Iterable[PoolSeen]) -> Wishes:
    """What has to be written now; empty when all is as it should be."""
    if is_over(view):
        return {seen.key: others(seen.release, own.name, view.now) for seen in pools if seen.release and _wish_of(own.name, seen)}
    return dict(_due(own, view, targets))


def is_over(view: RolloutView) -> bool:
    """Whether nobody will need it any more: it has ended, goes back or is to, or its version is bad."""
    story = view.story
    is_stopped = view.spec.order in (Order.Abort, Order.Undo) or view.plan.to in view.bad_versions or bool(view.marked)
    return bool(story.ended or story.going_back) or is_stopped


def _due(own: Self, view: RolloutView, targets: Sequence[Target]) -> Iterator[tuple[str, tuple[StagingWish, ...]]]:
    """Renewed where it runs out; new ones in the order of the plan while a window is waited for, few enough at a time."""
    room = AT_ONCE - sum(_is_busy(own, view, target) for target in targets) if waits_for_a_window(view) else 0
    for target in targets:
        wish, release = _wish_of(own.name, target.seen), target.seen.release
        if release is None:
            continue
        if wish is not None and own.wrote(wish.rollout, wish.rollout_uid):
            is_due = at(wish.until) - view.now < LASTS / 2
        else:
            is_due = room > 0
            room -= 1
        if is_due:
            fresh = StagingWish(rollout=own.name, rollout_uid=own.uid, packages=target.packages, until=stamp(view.now + LASTS))
            yield target.seen.key, (*others(release, own.name, view.now), fresh)


def others(release: MachinePoolRelease, rollout: str, now: datetime) -> tuple[StagingWish, ...]:
    """What other rollouts wish of a pool; what ran out is nobody's."""
    return tuple(wish for wish in release.spec.staging if wish.rollout != rollout and at(wish.until) > now)


def _wish_of(rollout: str, seen: PoolSeen) -> StagingWish | None:
    return next((wish for wish in (seen.release.spec.staging if seen.release else ()) if wish.rollout == rollout), None)


def _is_busy(own: Self, view: RolloutView, target: Target) -> bool:
    """Whether a pool that was asked is not through with it."""
    wish = _wish_of(own.name, target.seen)
    if wish is None or view.now - (at(wish.until) - LASTS) > PATIENCE:
        return False
    hosts, staged, failed, _ = _counts(target, own.name)
    return staged + failed < hosts


def _counts(target: Target, rollout: str) -> tuple[int, int, int, str]:
    """Hosts, those that have all of it, those that failed, and why the first of these did."""
    pool, wish = target.seen.pool, _wish_of(rollout, target.seen)
    hosts, names = len(pool.spec.hosts), wish.packages if wish else target.packages
    shown = {each.package: each for each in (pool.status.staging if pool.status else ())}
    if not all(name in shown for name in names):
        return hosts, 0, 0, ""
    found = [shown[name] for name in names]
    staged, failed = min(each.staged for each in found), max(each.failed for each in found)
    return hosts, min(staged, hosts), failed, next((each.trouble for each in found if each.trouble), "")


def words_of(rollout: str, targets: Sequence[Target]) -> str:
    """How far it is, as the pools show it; empty when there is nothing to stage."""
    counts = [_counts(target, rollout) for target in targets]
    hosts, staged = sum(each[0] for each in counts), sum(each[1] for each in counts)
    if not hosts:
        return ""
    if staged >= hosts:
        return f"its artifacts are on {hosts} of {hosts} machines"
    trouble = next((each[3] for each in counts if each[3]), "")
    return f"its artifacts are staged before the window: {staged} of {hosts} machines have them{f' ({trouble[:300]})' if trouble else ''}"

"""Which hosts of a pool are authorised for which packages next: the batches of an update. Pure; called by the pool ladder.

New hosts at once (nothing runs on them). Hosts that change: only as many as may be out of service at once, counting those that are out of
service for any other reason; per zone, too; and none at all after the first that failed. What is authorised stays so: a batch is never widened
by taking something back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from operators.api.machines import Host, HostRelease, UpdateStrategy


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the last pass over a machine found, for exactly these packages. Without a verdict a host counts as out of service."""

    packages: tuple[str, ...]
    is_open: bool
    is_stalled: bool
    message: str


@dataclass(frozen=True, slots=True)
class PoolHosts:
    """A pool's hosts as an update sees them. `claimed`: names of hosts that still have a claim (they leave, or stay)."""

    wished: tuple[Host, ...]
    packages: tuple[str, ...]
    authorised: tuple[HostRelease, ...]
    verdicts: Mapping[str, Verdict]
    claimed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """The next release, and why hosts that should change do not yet (empty if none waits)."""

    hosts: tuple[HostRelease, ...]
    waiting: str


def next_release(pool: PoolHosts, strategy: UpdateStrategy, *, now: str) -> Batch:
    """What shall be authorised now. `now` is stamped on new authorisations only, so that an unchanged release is equal to the old one."""
    wished = {host.name: host for host in pool.wished}
    current = {entry.name: entry for entry in pool.authorised}
    kept = {name: entry for name, entry in current.items() if name in wished or name in pool.claimed}
    fresh = [name for name in wished if name not in current]
    changed = [name for name in wished if name in current and set(current[name].packages) != set(pool.packages)]
    chosen, waiting = _batch(pool, strategy, changed)
    for name in fresh:
        kept[name] = HostRelease(name=name, packages=pool.packages, at=now, reason="new host")
    for name in chosen:
        kept[name] = HostRelease(name=name, packages=pool.packages, at=now, reason="packages of the pool changed")
    return Batch(tuple(kept[name] for name in sorted(kept)), waiting)


def _batch(pool: PoolHosts, strategy: UpdateStrategy, changed: Sequence[str]) -> tuple[list[str], str]:
    """Hosts to change now, and why the others wait."""
    held = frozenset(sorted(host.name for host in pool.wished)[: strategy.partition])
    candidates = [name for name in sorted(changed) if name not in held]
    if not candidates:
        return [], f"{len(changed)} hosts are held back by update.partition" if changed else ""
    if strategy.paused:
        return [], f"{len(candidates)} hosts wait: update.paused is set"
    if failed := _failed(pool):
        return [], f"{len(candidates)} hosts wait: {failed} failed with these packages: {pool.verdicts[failed].message}"
    return _within_limits(pool, strategy, candidates)


def _failed(pool: PoolHosts) -> str:
    """The first host that was changed to these packages and is stalled with them; empty if there is none."""
    for entry in sorted(pool.authorised, key=lambda entry: entry.name):
        verdict = pool.verdicts.get(entry.name)
        if verdict and verdict.is_stalled and set(entry.packages) == set(verdict.packages) == set(pool.packages):
            return entry.name
    return ""


def limit_of(strategy: UpdateStrategy, total: int) -> int:
    """How many of `total` may be out of service at once: percent rounded down, the smaller of the two, but at least the floor."""
    allowed = strategy.max_unavailable
    return max(allowed.floor, min(allowed.count, total * allowed.percent // 100))


def _within_limits(pool: PoolHosts, strategy: UpdateStrategy, candidates: Sequence[str]) -> tuple[list[str], str]:
    zones = {host.name: host.zone for host in pool.wished}
    out = {entry.name for entry in pool.authorised if entry.name in zones and not is_in_service(entry, pool.verdicts)}
    limit = limit_of(strategy, len(pool.wished))
    chosen: list[str] = []
    for name in sorted(candidates, key=lambda name: (name not in out, name)):
        taken = out | set(chosen) | {name}
        same_zone = [other for other in taken if zones[other] == zones[name]] if zones[name] else []
        if len(taken) <= max(limit, 0) and len(same_zone) <= strategy.per_zone:
            chosen.append(name)
    left = len(candidates) - len(chosen)
    busy = ", ".join(sorted(out | set(chosen))[:3]) or "nobody"
    return chosen, f"{left} hosts wait: at most {limit} may be out of service at once; out now: {busy}" if left else ""


def is_in_service(entry: HostRelease, verdicts: Mapping[str, Verdict]) -> bool:
    """Whether the last pass found the host open with exactly what it is authorised for."""
    verdict = verdicts.get(entry.name)
    return verdict is not None and verdict.is_open and set(verdict.packages) == set(entry.packages)

"""Which hosts of a pool are authorised for which packages next: the batches of an update. Pure; called by the pool ladder.

New hosts at once (nothing runs on them). Hosts that change go in batches: only as many as may be out of service at once, counting those
that are out of service for any other reason; per zone, too; the next batch only when every host of the last was found in service with the
new packages. That is noted in the release (`openedAt`), so neither a restart of the operator nor a host that dies later changes what is
known: a first failure stops the update by being no success. Hosts go back where a rollout's order does, or where the version that their pool follows was
taken back by a rollout and they get just what they had before it. Going back takes nothing more out of service where a host was seen to be out
already: so many as may be out are mended at once, however many are. What is authorised stays so; a change whose effect the pool forbids
is not authorised, nor one that brings a package which a rollout found bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from operators.api.hosts import Host
from operators.api.packages import MachinePackageVersion
from operators.api.pools import HostRelease, UpdateStrategy
from operators.domain.machine.effects import EffectRules, changes_between, refusal_of
from operators.domain.risk.identity import at
from operators.domain.rollout.bad import told_on
from operators.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One gate of a machine: whether it holds, and whether the node takes no new pods (for whatever reason)."""

    type: str
    holds: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class PackageStaged:
    """A package that a rollout wants on a machine ahead: whether all of its artifacts are there, and else what keeps them (empty: on their way)."""

    package: str
    is_there: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the last pass over a machine found, for exactly these packages. Without a verdict a host counts as out of service."""

    packages: tuple[str, ...]
    is_open: bool
    is_stalled: bool
    message: str
    gates: tuple[GateVerdict, ...] = ()
    asks: bool = False
    """Whether it waits for leave to be cordoned."""
    staged: tuple[PackageStaged, ...] = ()
    is_ours: bool = False
    """Whether it waits because SSH fails to many: nobody's packages are to blame."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A rollout took back the version that a pool follows: when it had been authorised, and when it was taken back."""

    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class PoolHosts:
    """A pool's hosts as an update sees them. `claimed`: names of hosts that still have a claim (they leave, or stay)."""

    wished: tuple[Host, ...]
    packages: tuple[str, ...]
    authorised: tuple[HostRelease, ...]
    verdicts: Mapping[str, Verdict]
    claimed: frozenset[str]
    catalogue: Mapping[str, MachinePackageVersion] = field(default_factory=dict)
    """Package versions by name, to know what a change does."""
    reason: str = "packages of the pool changed"
    """Why hosts change."""
    going_back: bool = False
    """Whether an order takes back what a rollout changed."""
    taken_back: TakenBack | None = None
    """Of the version that the pool follows."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The next release, and why hosts that should change do not yet (empty if none waits). `stalled`: they will not without a person."""

    hosts: tuple[HostRelease, ...]
    waiting: str
    stalled: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    """Hosts to change now, and why the others wait."""

    names: tuple[str, ...] = ()
    waiting: str = ""
    stalled: ErrorCode | None = None


def next_release(pool: PoolHosts, strategy: UpdateStrategy, *, now: str) -> Batch:
    """What shall be authorised now. `now` is stamped only on what is new, so that an unchanged release is equal to the old one."""
    wished = {host.name for host in pool.wished}
    current = {entry.name: _noted(entry, pool.verdicts, now) for entry in pool.authorised}
    kept = {name: entry for name, entry in current.items() if name in wished or name in pool.claimed}
    changed = [name for name in wished if name in current and set(current[name].packages) != set(pool.packages)]
    choice = _batch(pool, strategy, changed)
    for name in sorted(wished - set(current)):
        kept[name] = HostRelease(name=name, packages=pool.packages, at=now, reason="new host")
    for name in choice.names:
        old = current[name]
        kept[name] = HostRelease(
            name=name, packages=pool.packages, at=now, reason=pool.reason, before=old.packages, going_back=_goes_back(pool, old)
        )
    return Batch(tuple(kept[name] for name in sorted(kept)), choice.waiting, choice.stalled)


def _goes_back(pool: PoolHosts, entry: HostRelease) -> bool:
    """Whether the host gets what it had before a rollout changed it: then leave is asked for as for a rollback, and nothing else passes as one."""
    if pool.going_back:
        return True
    undone = pool.taken_back
    return undone is not None and set(entry.before) == set(pool.packages) and undone.since <= at(entry.at) < undone.at


def _noted(entry: HostRelease, verdicts: Mapping[str, Verdict], now: str) -> HostRelease:
    """Once in service with these packages, noted for good."""
    if entry.opened_at is not None or not is_in_service(entry, verdicts):
        return entry
    return entry.model_copy(update={"opened_at": now})


def _batch(pool: PoolHosts, strategy: UpdateStrategy, changed: Sequence[str]) -> _Choice:
    held = frozenset(sorted(host.name for host in pool.wished)[: strategy.partition])
    candidates = [name for name in sorted(changed) if name not in held]
    count = len(candidates)
    if not candidates:
        return _Choice(waiting=f"{len(changed)} hosts are held back by update.partition" if changed else "")
    if strategy.paused:
        return _Choice(waiting=f"{count} hosts wait: update.paused is set")
    if failed := _failed(pool):
        words = f"{count} hosts wait: {failed} failed with these packages: {pool.verdicts[failed].message}"
        return _Choice(waiting=words, stalled=ErrorCode.UpdateStopped)
    if unfinished := _unfinished(pool):
        return _Choice(waiting=f"{count} hosts wait until {', '.join(unfinished[:3])} is in service with these packages")
    return _allowed(pool, strategy, candidates)


def _failed(pool: PoolHosts) -> str:
    """The first host that was never in service with these packages and is stalled with them; empty if there is none."""
    for entry in _untried(pool):
        verdict = pool.verdicts.get(entry.name)
        if verdict and verdict.is_stalled and set(verdict.packages) == set(pool.packages):
            return entry.name
    return ""


def _unfinished(pool: PoolHosts) -> list[str]:
    """The batch in hand: hosts that were changed to these packages and were not in service with them yet."""
    return [entry.name for entry in _untried(pool) if entry.before and not is_in_service(entry, pool.verdicts)]


def _untried(pool: PoolHosts) -> list[HostRelease]:
    wished = {host.name for host in pool.wished}
    of_these = [entry for entry in pool.authorised if entry.name in wished and set(entry.packages) == set(pool.packages)]
    return sorted((entry for entry in of_these if entry.opened_at is None), key=lambda entry: entry.name)


def _allowed(pool: PoolHosts, strategy: UpdateStrategy, candidates: Sequence[str]) -> _Choice:
    """Without those whose change would do more than the pool allows, or bring what a rollout found bad."""
    before = {entry.name: entry.packages for entry in pool.authorised}
    rules, most = EffectRules(strategy.kubelet_minor), strategy.max_effect
    bad = {old: _bad_among(set(pool.packages) - set(old), pool.catalogue) for old in set(before.values())}
    refusals = {old: bad[old] or refusal_of(changes_between(old, pool.packages, pool.catalogue, rules), most) for old in bad}
    refused = [name for name in candidates if refusals[before[name]]]
    choice = _within_limits(pool, strategy, [name for name in candidates if name not in refused])
    if not refused or choice.waiting:
        return choice
    words = f"{len(refused)} hosts wait: {refusals[before[refused[0]]]}"
    code = ErrorCode.VersionBad if bad[before[refused[0]]] else ErrorCode.EffectRefused
    return _Choice(choice.names, words, None if choice.names else code)


def _bad_among(brought: Iterable[str], catalogue: Mapping[str, MachinePackageVersion]) -> str:
    """Why one of these packages is not given to a host that does not have it; one that has it is left alone."""
    marks = (told_on(name, catalogue[name].metadata.annotations) for name in sorted(brought) if name in catalogue)
    return next((mark.refusal() for mark in marks if mark), "")


def limit_of(strategy: UpdateStrategy, total: int) -> int:
    """How many of `total` may be out of service at once: percent rounded down, the smaller of the two, but at least the floor."""
    allowed = strategy.max_unavailable
    return max(allowed.floor, min(allowed.count, total * allowed.percent // 100))


def _within_limits(pool: PoolHosts, strategy: UpdateStrategy, candidates: Sequence[str]) -> _Choice:
    zones = {host.name: host.zone for host in pool.wished}
    out = {entry.name for entry in pool.authorised if entry.name in zones and not is_in_service(entry, pool.verdicts)}
    seen_out = {name for name in out if name in pool.verdicts}
    back = {entry.name for entry in pool.authorised if _goes_back(pool, entry)}
    limit = limit_of(strategy, len(pool.wished))
    chosen: list[str] = []
    for name in sorted(candidates, key=lambda name: (name not in out, name)):
        taken = out | set(chosen) | {name}
        same_zone = [other for other in taken if zones[other] == zones[name]] if zones[name] else []
        fits = len(taken) <= max(limit, 0) and len(same_zone) <= strategy.per_zone
        mends = name in back and name in seen_out and len(chosen) < max(limit, 1)
        if fits or mends:
            chosen.append(name)
    left = len(candidates) - len(chosen)
    busy = ", ".join(sorted(out | set(chosen))[:3]) or "nobody"
    words = f"{left} hosts wait: at most {limit} may be out of service at once; out now: {busy}" if left else ""
    return _Choice(tuple(chosen), words)


def is_in_service(entry: HostRelease, verdicts: Mapping[str, Verdict]) -> bool:
    """Whether the last pass found the host open with exactly what it is authorised for."""
    verdict = verdicts.get(entry.name)
    return verdict is not None and verdict.is_open and set(verdict.packages) == set(entry.packages)

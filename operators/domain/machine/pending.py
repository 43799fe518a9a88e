"""Changes of a machine that are still to come, with what each does to its pods: what `status.pending` shows, and its sums. Pure.

Both what is authorised and not done, and what the pool wishes and nobody authorised yet. Displays only; called by the statuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from operators.api.pending import Effect, PendingChange, PendingChanges
from operators.domain.machine.difference import PackageDifference
from operators.domain.machine.effects import PackageChange, is_at_least, refused_words, worst
from operators.domain.machine.view import MachineView

LIMIT = 64


def pending_changes(view: MachineView) -> tuple[PendingChange, ...]:
    """By component: the host beside the pool's wish. Nothing of a host that leaves, or of which nothing is known."""
    if view.is_leaving or view.report is None:
        return ()
    differing = {each.component: each for each in view.differences}
    planned = {each.component: each for each in view.planned}
    names = dict.fromkeys((*differing, *planned))
    return tuple(_pending(view, name, differing.get(name), planned.get(name)) for name in names)[:LIMIT]


def _pending(view: MachineView, component: str, now: PackageDifference | None, later: PackageChange | None) -> PendingChange:
    found = view.report.packages.get(component) if view.report else None
    to = later.after if later else now.package if now else ""
    effect = worst(each.effect for each in (now, later) if each)
    return PendingChange.model_validate(
        {"component": component, "from": found.name if found else "", "to": to, "effect": effect, "waits": _waits(view, effect, to, later)}
    )


def _waits(view: MachineView, effect: Effect, to: str, later: PackageChange | None) -> str:
    pool = view.wish.pool
    if pool and view.node is not None and not is_at_least(pool.spec.update.max_effect, effect):
        return refused_words(to or "its removal", effect, pool.spec.update.max_effect)[:1024]
    return f"waits until pool {pool.metadata.name} authorises it" if later and pool else ""


def sum_of(changes: Iterable[PendingChange | PendingChanges]) -> tuple[PendingChanges, ...]:
    """Equal changes counted, the worst first; what does not fit is left out."""
    counted: Counter[tuple[str, str, str]] = Counter()
    effects: dict[tuple[str, str, str], Effect] = {}
    for each in changes:
        key = (each.component, each.from_, each.to)
        counted[key] += each.hosts if isinstance(each, PendingChanges) else 1
        effects[key] = worst((effects.get(key, Effect.NoEffect), each.effect))
    pains = tuple(Effect)
    ordered = sorted(counted, key=lambda key: (-pains.index(effects[key]), key))
    named = ({"component": key[0], "from": key[1], "to": key[2], "effect": effects[key], "hosts": counted[key]} for key in ordered[:LIMIT])
    return tuple(PendingChanges.model_validate(each) for each in named)

"""How many machines of a pool each gate closes, and how many it would close if budgets allowed. Pure; called by the pool's status. Displays only."""

from __future__ import annotations

from operators.api.pools import GateCount
from operators.domain.machine.conditions import Observed
from operators.domain.machine.pool_view import PoolView


def gate_counts(view: PoolView) -> tuple[GateCount, ...]:
    """Each gate that the last passes judged, the pool's own first; over machines that have a Node."""
    listed = [gate.type for gate in view.pool.spec.readiness_gates]
    counts = {type_: [0, 0, 0] for type_ in listed}
    for host in view.pool.spec.hosts:
        verdict = view.verdicts.get(host.name)
        for gate in verdict.gates if verdict else ():
            counts.setdefault(gate.type, [0, 0, 0])[0 if gate.holds else 1 if gate.closed else 2] += 1
    ordered = [*listed, *sorted(set(counts) - set(listed))][:48]
    return tuple(GateCount(type=t, holds=counts[t][0], closed=counts[t][1], would_close=counts[t][2]) for t in ordered)


def gates_condition(view: PoolView, counts: tuple[GateCount, ...]) -> tuple[Observed, ...]:
    """`GatesHold`, for a pool that has gates; it names the worst one and its machines."""
    if not counts:
        return ()
    worst = max(counts, key=lambda count: (count.would_close, count.closed))
    if not worst.closed and not worst.would_close:
        return (Observed("GatesHold", True, "Satisfied", ""),)
    total = worst.holds + worst.closed + worst.would_close
    words = f"gate {worst.type} does not hold on {worst.closed + worst.would_close} of {total} machines: {worst.closed} take no new pods"
    if worst.would_close:
        words += f", {worst.would_close} still do and are closed as budgets allow ({_some(_open_without(view, worst.type))})"
    return (Observed("GatesHold", False, "WouldClose" if worst.would_close else "Closed", words),)


def _open_without(view: PoolView, type_: str) -> list[str]:
    """Names of machines that take pods although this gate does not hold on them."""
    names = sorted(host.name for host in view.pool.spec.hosts if host.name in view.verdicts)
    return [n for n in names if any(g.type == type_ and not g.holds and not g.closed for g in view.verdicts[n].gates)]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

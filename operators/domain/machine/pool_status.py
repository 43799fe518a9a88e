"""What a MachinePool shows after a pass. Pure; called by the pool controller. Displays only."""

from __future__ import annotations

from operators.api.machines import Machine
from operators.api.pending import PendingChange
from operators.api.pools import MachinePoolStatus, PoolStaging
from operators.domain.machine.conditions import Observed, conditions_of
from operators.domain.machine.gate_counts import gate_counts, gates_condition
from operators.domain.machine.pending import sum_of
from operators.domain.machine.pool_view import PoolView
from operators.domain.machine.status import sentence_of, stalled_by
from operators.domain.machine.steps import Done, Step
from operators.errors import KokError


def _shown(machine: Machine) -> tuple[PendingChange, ...]:
    return machine.status.pending if machine.status else ()


def staging_of(view: PoolView) -> tuple[PoolStaging, ...]:
    """Of each package that is wanted ahead: how many hosts have it. A host that nobody looked at since the start has nothing."""
    return tuple(_staging(view, package) for package in view.ahead[:64])


def _staging(view: PoolView, package: str) -> PoolStaging:
    names = sorted(host.name for host in view.pool.spec.hosts)
    found = {name: each for name in names if name in view.verdicts for each in view.verdicts[name].staged if each.package == package}
    troubles = [f"{name}: {each.trouble}" for name, each in found.items() if each.trouble]
    staged = sum(1 for each in found.values() if each.is_there)
    return PoolStaging(package=package, hosts=len(names), staged=staged, failed=len(troubles), trouble="".join(troubles[:1])[:1024])


def pool_status_of(view: PoolView, step: Step, told: str | KokError) -> MachinePoolStatus:
    """The whole status of a pool."""
    pool, words, stalled = view.pool, sentence_of(step, told), stalled_by(step, told)
    names = {host.name for host in pool.spec.hosts}
    ready = sum(1 for name in names if name in view.verdicts and view.verdicts[name].is_open)
    machines = sum(1 for machine in view.machines.values() if machine.spec.pool == pool.metadata.name)
    done = isinstance(step, Done)
    reason = stalled.value if stalled else "Deleting" if pool.deleting else "Open" if done else "Reconciling"
    counts = gate_counts(view)
    observed = (
        Observed("Ready", done, reason, words),
        Observed("Reconciling", not done and not stalled and not view.cluster.paused, reason, "" if done or stalled else words),
        Observed("Stalled", stalled is not None, reason, words if stalled else ""),
        *gates_condition(view, counts),
    )
    generation = pool.metadata.generation
    before = pool.status.conditions if pool.status else ()
    return MachinePoolStatus(
        observed_generation=generation,
        machines=machines,
        ready=ready,
        gates=counts,
        pending=sum_of(change for name in sorted(names & view.machines.keys()) for change in _shown(view.machines[name])),
        staging=staging_of(view),
        message=words[:1024],
        conditions=conditions_of(before, observed, generation=generation, now=view.now),
    )

"""What a MachinePool shows after a pass. Pure; called by the pool controller. Displays only."""

from __future__ import annotations

from operators.api.machines import MachinePoolStatus
from operators.domain.machine.conditions import Observed, conditions_of
from operators.domain.machine.pool_view import PoolView
from operators.domain.machine.status import sentence_of, stalled_by
from operators.domain.machine.steps import Done, Step
from operators.errors import KokError


def pool_status_of(view: PoolView, step: Step, told: str | KokError) -> MachinePoolStatus:
    """The whole status of a pool."""
    pool, words, stalled = view.pool, sentence_of(step, told), stalled_by(step, told)
    names = {host.name for host in pool.spec.hosts}
    ready = sum(1 for name in names if name in view.verdicts and view.verdicts[name].is_open)
    machines = sum(1 for machine in view.machines.values() if machine.spec.pool == pool.metadata.name)
    done = isinstance(step, Done)
    reason = stalled.value if stalled else "Deleting" if pool.deleting else "Open" if done else "Reconciling"
    observed = (
        Observed("Ready", done, reason, words),
        Observed("Reconciling", not done and not stalled and not view.cluster.paused, reason, "" if done or stalled else words),
        Observed("Stalled", stalled is not None, reason, words if stalled else ""),
    )
    generation = pool.metadata.generation
    before = pool.status.conditions if pool.status else ()
    return MachinePoolStatus(
        observed_generation=generation,
        machines=machines,
        ready=ready,
        message=words[:1024],
        conditions=conditions_of(before, observed, generation=generation, now=view.now),
    )

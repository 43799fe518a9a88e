"""Whether the risk centre would let a Cluster be changed now: breakers, rates, slots in use, as it sees them. Pure.

A rollout starts nobody who would only wait for leave: a member's deadline is for the change, not for the queue. The answer that counts is
still the risk centre's, to the plane that asks; it also counts planes that are out of service by themselves. Asked for what is to start, never
for what goes back. Called by `state`; made by cluster_operator.rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from operators.api.budgets import OperationBudget, Per
from operators.api.risk import LedgerSpec, Operation, Purpose, Target
from operators.domain.risk.bookkeeping import latest
from operators.domain.risk.breaker import progressed, refusal_by
from operators.domain.risk.facts import Facts, FleetCluster, Member
from operators.domain.risk.identity import TargetKey
from operators.domain.risk.limits import Weighed, concurrency_refusal, rate_refusal, target_of
from operators.domain.risk.scopes import MACHINE, ClusterId, Labels, Place, budgets_about, scope_of

NO_BUDGET = "no OperationBudget is about {operation} of it: without a budget nothing is allowed (kubectl get operationbudgets)"


class Leave:
    """Answers for one pass; each question is weighed once. `fleet`: all Clusters there are (namespace/name) with their labels; `pools`: of a change
    of machines, the Cluster of each pool. A pool's machines ask one by one, so only breakers keep a pool from being started.
    """

    def __init__(
        self,
        fleet: Mapping[str, Labels],
        budgets: Sequence[OperationBudget],
        ledger: LedgerSpec,
        now: datetime,
        *,
        pools: Mapping[str, str] | None = None,
    ) -> None:
        self._pools = pools or {}
        every = [FleetCluster(_id_of(key), labels, 0) for key, labels in fleet.items()]
        self._fleet = {each.cluster: each for each in every}
        self._budgets, self._ledger, self._now = tuple(budgets), ledger, latest(ledger, now)
        self._holding: frozenset[TargetKey] = frozenset(target_of(each) for each in ledger.in_flight)
        self._known: dict[tuple[str, str], str] = {}

    def why_not(self, key: str) -> str:
        """The first budget that says no, in its words; empty if all agree."""
        home = _id_of(self._pools.get(key, key))
        own = self._fleet.get(home) or FleetCluster(home, {}, 0)
        target, operation = Target(kind="Cluster", name=home.name, cluster=home.name), Operation.UpgradePlane
        if key in self._pools:
            pool = key.partition("/")[2]
            target, operation = Target(kind="Machine", name=pool, cluster=home.name, pool=pool), Operation.ApplyPackage
        place = Place(operation.value, own.cluster, target)
        about = budgets_about(self._budgets, place, own.labels)
        if not about:
            return NO_BUDGET.format(operation=operation.value)
        facts = Facts(self._budgets, own.labels, (Member(own.cluster, target),), self._fleet)
        weighed = [
            Weighed(each, scope_of(each.spec.scope.per, place), place, Purpose.Forward, self._ledger, facts, self._now) for each in about
        ]
        return next((words for each in weighed if (words := self._asked(each))), "")

    def _asked(self, weighed: Weighed) -> str:
        """One budget's no. In the fleet's scope it is the same for all who hold nothing themselves."""
        if weighed.budget.spec.scope.per is not Per.Fleet or weighed.own in self._holding:
            return _refusal(weighed)
        name = (weighed.budget.metadata.name, weighed.scope)
        if name not in self._known:
            self._known[name] = _refusal(weighed)
        return self._known[name]


def _refusal(weighed: Weighed) -> str:
    if no := refusal_by(weighed, progressed(weighed)):
        return str(no)
    if weighed.place.target.kind == MACHINE:
        return ""
    return next((str(no) for no in (rate_refusal(weighed), concurrency_refusal(weighed)) if no), "")


def _id_of(key: str) -> ClusterId:
    namespace, _, name = key.partition("/")
    return ClusterId(namespace, name)

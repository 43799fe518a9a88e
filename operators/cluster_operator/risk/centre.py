"""The risk centre as one thing to start: what it watches and the controllers that it runs. Built by cluster_operator/main.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar

from operators.cluster_operator.risk.breakers import Teller
from operators.cluster_operator.risk.budgets import BUDGET, BUDGETS, BudgetController
from operators.cluster_operator.risk.causes import CauseReader, woken_by_rollouts
from operators.cluster_operator.risk.grants import GRANTS, GrantController
from operators.cluster_operator.risk.keeper import KEEPER, LedgerKeeper
from operators.cluster_operator.risk.targets import Targets
from operators.cluster_operator.rollout.journal import JournalBook
from operators.engine.clock import utc_now
from operators.engine.leadership import Leadership
from operators.engine.reconcile import Controller, LoopTools
from operators.ports.kube import Key, KubeConnector, Manifest, Watched
from operators.services.ledger import SYSTEM_NAMESPACE, LedgerService, ledger_ref
from operators.services.risk_facts import RiskFacts


def keys_of_grant(manifest: Manifest) -> Iterable[Key]:
    """Its own key while it is live, and that of the Cluster whose plane asked. A finished one wakes nobody and is not cached: there may be
    hundreds per namespace.
    """
    status = manifest.get("status") or {}
    if status.get("settledAt") or status.get("decision") == "Denied":
        return ()
    metadata = manifest["metadata"]
    keys = [Key(GrantController.name, metadata["namespace"], metadata["name"])]
    asker, _, cluster = str((manifest.get("spec") or {}).get("requester", "")).partition("/")
    return (*keys, Key("cluster", metadata["namespace"], cluster)) if asker == "cluster-operator" and cluster else keys


def keys_of_ledger(manifest: Manifest) -> Iterable[Key]:
    """The keeper's only key, and that of what budgets show."""
    return (KEEPER, BUDGETS) if manifest["metadata"]["name"] == ledger_ref().name else ()


def keys_of_budget(manifest: Manifest) -> Iterable[Key]:
    """What budgets show. Decisions read budgets live: who waits asks again by itself."""
    return (BUDGETS,)


def followed(watched: Iterable[Watched]) -> tuple[Watched, ...]:
    """What the process watches anyway, with what wakes the risk centre in it: rollouts that failed."""
    return woken_by_rollouts(watched, BUDGETS)


class RiskCentre:
    """Hand `WATCHED` to the process and its watch layers, and each of `controllers` to `Process.add` with the same tools."""

    WATCHED: ClassVar[tuple[Watched, ...]] = (
        Watched(GRANTS, keys_of_grant),
        Watched(ledger_ref().type, keys_of_ledger, namespace=SYSTEM_NAMESPACE),
        Watched(BUDGET, keys_of_budget),
    )

    def __init__(
        self,
        tools: LoopTools,
        connector: KubeConnector,
        leadership: Leadership,
        *,
        now: Callable[[], datetime] = utc_now,
        secret: str = "operator-kubeconfig",  # noqa: S107 - the name of one
    ) -> None:
        """`leadership` says the epoch under which this process leads: the Ledger refuses older ones. `secret`: see RiskFacts."""
        self.ledger = LedgerService(tools.kube, RiskFacts(tools.kube, connector, secret=secret), epoch=lambda: leadership.epoch, now=now)
        targets = Targets(tools.kube, connector)
        self.grants = GrantController(tools.kube, self.ledger, targets, recorder=tools.recorder, now=now)
        self.keeper = LedgerKeeper(tools.kube, self.ledger, targets, now=now)
        self.grants.seen = self.keeper.follow()
        causes = CauseReader(tools.kube, JournalBook(tools.kube, SYSTEM_NAMESPACE))
        self.budgets = BudgetController(tools.kube, self.ledger, Teller(tools), causes, now=now)
        self.controllers: tuple[Controller[Any, Any, Any], ...] = (self.grants, self.keeper, self.budgets)

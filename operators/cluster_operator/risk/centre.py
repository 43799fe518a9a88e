"""The risk centre as one thing to start: what it watches and the two controllers that it runs. Built by cluster_operator/main.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar

from operators.cluster_operator.risk.grants import GRANTS, GrantController
from operators.cluster_operator.risk.keeper import KEEPER, LedgerKeeper
from operators.cluster_operator.risk.targets import Targets
from operators.engine.clock import utc_now
from operators.engine.leadership import Leadership
from operators.engine.reconcile import Controller, LoopTools
from operators.ports.kube import Key, KubeConnector, Manifest, Watched
from operators.services.ledger import SYSTEM_NAMESPACE, LedgerService, ledger_ref


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
    """The keeper's only key."""
    return (KEEPER,) if manifest["metadata"]["name"] == ledger_ref().name else ()


class RiskCentre:
    """Hand `WATCHED` to the process and its watch layers, and each of `controllers` to `Process.add` with the same tools."""

    WATCHED: ClassVar[tuple[Watched, ...]] = (
        Watched(GRANTS, keys_of_grant),
        Watched(ledger_ref().type, keys_of_ledger, namespace=SYSTEM_NAMESPACE),
    )

    def __init__(
        self, tools: LoopTools, connector: KubeConnector, leadership: Leadership, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        """`leadership` says the epoch under which this process leads: the Ledger refuses older ones."""
        self.ledger = LedgerService(tools.kube, epoch=lambda: leadership.epoch, now=now)
        targets = Targets(tools.kube, connector)
        self.grants = GrantController(tools.kube, self.ledger, targets, recorder=tools.recorder, now=now)
        self.keeper = LedgerKeeper(tools.kube, self.ledger, targets, now=now)
        self.controllers: tuple[Controller[Any, Any, Any], ...] = (self.grants, self.keeper)

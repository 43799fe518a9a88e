"""What the risk centre asks for while nothing happens: nothing that grows with the fleet, and nothing again that time cannot have changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from operators.api.risk import LedgerSpec
from operators.cluster_operator.risk.breakers import Teller
from operators.cluster_operator.risk.budgets import BUDGETS, BudgetController
from operators.cluster_operator.risk.budgets import IDLE as SHOWN_IDLE
from operators.cluster_operator.risk.budgets import LOOK_EVERY as SHOWN_EVERY
from operators.cluster_operator.risk.causes import CauseReader
from operators.cluster_operator.risk.grants import GRANTS, GrantController
from operators.cluster_operator.risk.keeper import COLLECT_EVERY, IDLE, KEEPER, LOOK_EVERY, LedgerKeeper
from operators.cluster_operator.rollout.journal import JournalBook
from operators.domain.risk.sighting import Sighted, Sighting
from operators.engine.metrics import Metrics
from operators.engine.reconcile import LoopTools
from operators.ports.kube import Key, Kind, Listing, Ref
from operators.services.ledger import LedgerService
from tests.unit.operators.domain.risk.builders import KnownFacts, budget, entry, facts, later

CLUSTERS = 20


class Meta:
    """Clusters, grants, and a count of what was listed."""

    def __init__(self) -> None:
        self.listed: list[str] = []
        self.grants: dict[str, list[dict[str, Any]]] = {}
        self.ledger = LedgerSpec()
        self.budgets: list[dict[str, Any]] = []

    async def list(self, kind: Kind, *, namespace: str = "", **_: object) -> Listing:
        self.listed.append(f"{kind.kind} {namespace}".strip())
        if kind == GRANTS:
            return Listing(tuple(self.grants.get(namespace, ())), "1")
        if kind.kind == "OperationBudget":
            return Listing(tuple(self.budgets), "1")
        if kind.kind == "ControllerRevision":
            return Listing((), "1")
        return Listing(tuple({"metadata": {"name": "c", "namespace": f"n{number}"}} for number in range(CLUSTERS)), "1")

    async def get(self, ref: Ref, **_: object) -> dict[str, Any] | None:
        if ref.kind != "Ledger":
            return None
        metadata = {"name": ref.name, "namespace": ref.namespace, "uid": "l", "resourceVersion": "1"}
        spec = self.ledger.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {"apiVersion": "kok.dev/v1alpha1", "kind": "Ledger", "metadata": metadata, "spec": spec}


class Unseen:
    """Targets that nobody can see."""

    async def look(self, namespace: str, target: object) -> Sighted:
        return Sighted(Sighting.Unclear, "not seen")


class Clock:
    seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, tzinfo=UTC)


def ledger_of(meta: Meta, clock: Clock) -> LedgerService:
    return LedgerService(meta, KnownFacts(facts()), epoch=lambda: 1, now=clock.now)  # type: ignore[arg-type]


def keeper_of(meta: Meta, clock: Clock) -> LedgerKeeper:
    return LedgerKeeper(meta, ledger_of(meta, clock), Unseen(), now=clock.now, clock=lambda: clock.seconds)  # type: ignore[arg-type]


async def look(keeper: LedgerKeeper, meta: Meta, clock: Clock) -> int:
    """One look when it is time to collect; in how many namespaces grants were listed."""
    clock.seconds += COLLECT_EVERY + 1
    meta.listed.clear()
    kept = await keeper.observe(KEEPER)
    assert kept is not None
    return sum(each.startswith("OperationGrant") for each in meta.listed)


async def test_should_list_a_namespace_without_grants_once() -> None:
    meta, clock = Meta(), Clock()
    keeper = keeper_of(meta, clock)
    seen = keeper.follow()
    assert await look(keeper, meta, clock) == CLUSTERS
    assert await look(keeper, meta, clock) == 0
    seen("n3")
    assert await look(keeper, meta, clock) == 1


async def test_should_list_all_as_long_as_nobody_tells() -> None:
    """The control: without being told it must not trust that nothing came."""
    meta, clock = Meta(), Clock()
    keeper = keeper_of(meta, clock)
    assert [await look(keeper, meta, clock) for _ in range(2)] == [CLUSTERS, CLUSTERS]


async def test_should_keep_looking_where_grants_are() -> None:
    meta, clock = Meta(), Clock()
    keeper = keeper_of(meta, clock)
    keeper.follow()
    meta.grants["n5"] = [{"metadata": {"name": "not understood", "namespace": "n5"}}]
    assert [await look(keeper, meta, clock) for _ in range(3)] == [CLUSTERS, 1, 1]


async def test_should_be_told_by_whoever_looks_at_a_grant() -> None:
    told: list[str] = []
    grants = GrantController(Meta(), None, None, recorder=None, now=Clock().now)  # type: ignore[arg-type]
    grants.seen = told.append
    assert await grants.observe(Key("risk", "n3", "gone")) is None
    assert told == ["n3"]


async def test_should_look_often_only_while_something_is_in_flight() -> None:
    meta, clock = Meta(), Clock()
    keeper = keeper_of(meta, clock)
    quiet = await keeper.observe(KEEPER)
    assert quiet is not None
    assert keeper.next_step(quiet).after == IDLE
    meta.ledger = LedgerSpec(in_flight=(entry(),))
    clock.seconds += LOOK_EVERY + 1
    busy = await keeper.observe(KEEPER)
    assert busy is not None
    assert busy.left == LOOK_EVERY


async def test_should_show_budgets_anew_only_where_time_can_change_them() -> None:
    meta, clock = Meta(), Clock()
    recorder = SimpleNamespace(record=lambda occurrence: asyncio.sleep(0))
    tools = LoopTools(meta, recorder, Metrics())  # type: ignore[arg-type]
    ledger_service, causes = ledger_of(meta, clock), CauseReader(meta, JournalBook(meta, "kok-system"))  # type: ignore[arg-type]
    shows = BudgetController(meta, ledger_service, Teller(tools), causes, now=clock.now, clock=lambda: clock.seconds)  # type: ignore[arg-type]
    lefts = []
    until = later(3600).isoformat()
    held = budget("held", hold={"mode": "ForcedOpen", "reason": "an incident", "until": until}).manifest()
    for ledger, stored in ((LedgerSpec(), []), (LedgerSpec(in_flight=(entry(),)), []), (LedgerSpec(), [held])):
        meta.ledger, meta.budgets = ledger, stored
        clock.seconds += SHOWN_IDLE
        shown = await shows.observe(BUDGETS)
        assert shown is not None
        lefts.append(shown.left)
    assert lefts == [SHOWN_IDLE, SHOWN_EVERY, SHOWN_EVERY]

"""A risk centre on the real API server: a Ledger in the test's own namespace, passes made by hand, a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from operators.adapters.grants_kube import GRANTS, KubeGrants
from operators.adapters.kube_connector import BusinessClusters
from operators.api.base import API_VERSION
from operators.api.risk import Operation, OperationGrant, Target
from operators.cluster_operator.risk.breakers import Teller
from operators.cluster_operator.risk.budgets import BUDGETS, BudgetController
from operators.cluster_operator.risk.causes import CauseReader
from operators.cluster_operator.risk.grants import GrantController
from operators.cluster_operator.risk.keeper import LedgerKeeper
from operators.cluster_operator.risk.targets import Targets
from operators.cluster_operator.rollout.journal import JournalBook
from operators.engine.metrics import Metrics
from operators.engine.reconcile import LoopTools
from operators.engine.recorder import EventRecorder
from operators.errors import KokError
from operators.ports.grants import Grant, GrantRequest, Waiting
from operators.ports.kube import Key, KubePort, Manifest
from operators.services.ledger import FactsPort, LedgerService, StoredLedger, ledger_ref, read_ledger
from tests.unit.operators.domain.risk.builders import KnownFacts


@dataclass
class Clock:
    """Real time plus what the test added; the keeper's seconds go with it."""

    ahead: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def seconds(self) -> float:
        return self.now().timestamp()


@dataclass
class Centre:
    """One risk centre: what RiskCentre builds, with a Ledger of the test's own."""

    kube: KubePort
    namespace: str
    clock: Clock
    epoch: int = 1
    facts: FactsPort = field(default_factory=KnownFacts)
    connector: BusinessClusters = field(default_factory=lambda: BusinessClusters(field_manager="test"))

    def __post_init__(self) -> None:
        self.ledger = LedgerService(self.kube, self.facts, epoch=lambda: self.epoch, now=self.clock.now, namespace=self.namespace)
        targets, recorder = Targets(self.kube, self.connector), EventRecorder(self.kube, "test", "test")
        self.grants = GrantController(self.kube, self.ledger, targets, recorder=recorder, now=self.clock.now)
        self.metrics = Metrics()
        tools = LoopTools(self.kube, recorder, self.metrics)
        self.causes = CauseReader(self.kube, JournalBook(self.kube, self.namespace))
        self.budgets = BudgetController(self.kube, self.ledger, Teller(tools), self.causes, now=self.clock.now, clock=self.clock.seconds)
        self.keeper = LedgerKeeper(self.kube, self.ledger, targets, now=self.clock.now, clock=self.clock.seconds)

    async def settle_down(self) -> None:
        """Passes over every grant of the namespace until none has anything to do at once."""
        for item in (await self.kube.list(GRANTS, namespace=self.namespace)).items:
            await self.until_quiet(item["metadata"]["name"])

    async def until_quiet(self, name: str) -> None:
        for _ in range(10):
            try:
                observed = await self.grants.observe(Key("risk", self.namespace, name))
                if observed is None:
                    return
                step = self.grants.next_step(observed)
                await self.grants.act(observed, step)
                if step.after != 0.0:
                    return
            except KokError:
                continue

    async def tidy_up(self) -> None:
        kept = await self.keeper.observe(Key("ledger", self.namespace, "ledger"))
        assert kept is not None
        await self.keeper.act(kept, self.keeper.next_step(kept))

    async def show_budgets(self) -> None:
        shown = await self.budgets.observe(BUDGETS)
        assert shown is not None
        await self.budgets.act(shown, self.budgets.next_step(shown))

    async def stored(self) -> StoredLedger:
        return await read_ledger(self.kube, ledger_ref(self.namespace))


def request(namespace: str, host: str = "a", **changes: object) -> GrantRequest:
    fields: dict[str, object] = {
        "namespace": namespace,
        "operation": Operation.Drain,
        "target": Target(kind="Machine", name=host, cluster="demo", pool="workers"),
        "target_uid": f"uid-{host}",
        "requester": "machine-operator/demo",
        "workflow": "decommission",
        "step": "drain",
        "attempt": 0,
        "reason": "the host left its pool",
    }
    return GrantRequest(**(fields | changes))  # type: ignore[arg-type]


def empty_ledger(namespace: str) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": "Ledger", "metadata": {"name": "ledger", "namespace": namespace}, "spec": {"inFlight": []}}


async def granted(grants: KubeGrants, centre: Centre, wanted: GrantRequest) -> Grant:
    """Ask, be answered, ask again."""
    first = await grants.ask(wanted)
    if isinstance(first, Grant):
        return first
    await centre.settle_down()
    answer = await grants.ask(wanted)
    assert isinstance(answer, Grant), answer
    return answer


async def denied(grants: KubeGrants, centre: Centre, wanted: GrantRequest) -> Waiting:
    first = await grants.ask(wanted)
    assert isinstance(first, Waiting)
    await centre.settle_down()
    answer = await grants.ask(wanted)
    assert isinstance(answer, Waiting), answer
    return answer


async def stored_grant(kube: KubePort, grant: Grant) -> OperationGrant:
    manifest = await kube.get(GRANTS.ref(grant.op_id, grant.namespace))
    assert manifest is not None
    return OperationGrant.parse(manifest)

"""Two risk centres, requesters and time in any order, cut anywhere: never two targets of one pool with leave to be acted on, and never more
operations in any window than its budget says.

The code under test is the shipped one (KubeGrants, GrantController, LedgerService, LedgerKeeper); only the API server is in memory,
so that every call is a point where another may come first or the process may die.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from operators.adapters.grants_kube import GRANTS, KubeGrants
from operators.api.base import API_VERSION
from operators.api.risk import Ledger, Operation, OperationGrant, Outcome, Target
from operators.cluster_operator.risk.grants import GrantController
from operators.cluster_operator.risk.keeper import KEEPER, LOOK_EVERY, LedgerKeeper
from operators.domain.risk.asking import why_invalid
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import at
from operators.domain.risk.sighting import Sighted, Sighting
from operators.errors import KokError
from operators.ports.grants import Grant, GrantRequest
from operators.ports.kube import Key, Manifest
from operators.services.ledger import LedgerService, ledger_ref
from tests.unit.operators.cluster_operator.risk.memory_kube import MemoryKube
from tests.unit.operators.domain.risk.builders import NOON, KnownFacts, budget, facts

HOSTS = {"a": "workers", "b": "workers", "c": "workers", "d": "gpu", "e": "gpu"}
OPERATIONS = (Operation.Drain, Operation.DeleteMachine)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


class Silence:
    async def record(self, occurrence: object) -> None:
        """Nobody listens."""


@dataclass
class Sights:
    """What is seen of each host."""

    of: dict[str, Sighting] = field(default_factory=dict)

    async def look(self, namespace: str, target: Target) -> Sighted:
        return Sighted(self.of.get(target.name, Sighting.Impaired), "as the test says")


class Centre:
    """One risk centre with a clock of its own. Each pass is made by another instance: they share nothing but the API server."""

    def __init__(self, kube: MemoryKube, world: Interleavings, epoch: int) -> None:
        self.skew = 0.0
        self._kube, self._world, self._epoch = kube, world, epoch

    @property
    def grants(self) -> GrantController:
        return GrantController(self._kube, self._ledger(), self._world.sights, recorder=Silence(), now=self.now)  # type: ignore[arg-type]

    @property
    def keeper(self) -> LedgerKeeper:
        return LedgerKeeper(self._kube, self._ledger(), self._world.sights, now=self.now, clock=lambda: self._world.seconds)  # type: ignore[arg-type]

    def _ledger(self) -> LedgerService:
        return LedgerService(self._kube, self._world.facts, epoch=lambda: self._epoch, now=self.now)  # type: ignore[arg-type]

    def now(self) -> datetime:
        return self._world.now() + timedelta(seconds=self.skew)


async def one_pass(controller: Any, key: Key) -> None:
    """As the engine does it; what goes wrong is tried again by another pass."""
    try:
        observed = await controller.observe(key)
        if observed is not None:
            await controller.act(observed, controller.next_step(observed))
    except KokError:
        pass


class Interleavings(RuleBasedStateMachine):
    """Rules start coroutines, move one of them by one call, or end it."""

    running = Bundle("running")
    kube_class: type[MemoryKube] = MemoryKube
    limit = 1

    @initialize(epochs=st.sampled_from([(5, 5), (5, 6)]))
    def begin(self, epochs: tuple[int, int]) -> None:
        self.seconds = 0.0
        self.kube, self.sights, self.facts = self.kube_class(), Sights(), KnownFacts(known(self.limit))
        self.spent: dict[str, datetime] = {}
        self.kube.put({"apiVersion": API_VERSION, "kind": "Ledger", "metadata": {"name": "ledger", "namespace": "kok-system"}, "spec": {}})
        self.kube.put({"apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": "demo", "namespace": "demo"}, "spec": {}})
        self.centres = [Centre(self.kube, self, epoch) for epoch in epochs]
        self.holder = KubeGrants(self.kube, now=self.now)  # type: ignore[arg-type]
        self.held: list[Grant] = []
        self.begun: list[Coroutine[Any, Any, None]] = []

    def teardown(self) -> None:
        for process in self.begun:
            process.close()

    def _begun(self, process: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        self.begun.append(process)
        return process

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def _stored(self) -> list[OperationGrant]:
        return [OperationGrant.parse(item) for ref, item in sorted(self.kube.objects.items()) if ref.type == GRANTS]

    async def _ask(self, host: str, operation: Operation) -> None:
        target = Target(kind="Machine", name=host, cluster="demo", pool=HOSTS[host])
        answer = await self.holder.ask(
            GrantRequest("demo", operation, target, f"uid-{host}", "machine-operator/demo", "decommission", operation.value, 0, "test", 600)
        )
        if isinstance(answer, Grant):
            self.held.append(answer)

    @rule(target=running, host=st.sampled_from(sorted(HOSTS)), operation=st.sampled_from(OPERATIONS))
    def ask(self, host: str, operation: Operation) -> Coroutine[Any, Any, None]:
        return self._begun(self._ask(host, operation))

    @rule(target=running, centre=st.integers(0, 1), data=st.data())
    def answer(self, centre: int, data: st.DataObject) -> Any:
        grants = self._stored()
        if not grants:
            return multiple()
        name = data.draw(st.sampled_from([grant.metadata.name for grant in grants]))
        return self._begun(one_pass(self.centres[centre].grants, Key("risk", "demo", name)))

    @rule(target=running, centre=st.integers(0, 1))
    def tidy_up(self, centre: int) -> Coroutine[Any, Any, None]:
        return self._begun(one_pass(self.centres[centre].keeper, KEEPER))

    @rule(target=running, data=st.data(), outcome=st.sampled_from(list(Outcome)))
    def settle(self, data: st.DataObject, outcome: Outcome) -> Any:
        return self._begun(self.holder.settle(data.draw(st.sampled_from(self.held)), outcome)) if self.held else multiple()

    @rule(process=running)
    def one_call(self, process: Coroutine[Any, Any, None]) -> None:
        move(process)

    @rule(process=running)
    def to_its_end(self, process: Coroutine[Any, Any, None]) -> None:
        while move(process):
            pass

    @rule(process=running)
    def crash(self, process: Coroutine[Any, Any, None]) -> None:
        process.close()

    @rule(host=st.sampled_from(sorted(HOSTS)), operation=st.sampled_from(OPERATIONS), centre=st.integers(0, 1))
    def ask_and_be_answered(self, host: str, operation: Operation, centre: int) -> None:
        """The ordinary way, so that the rest happens to a Ledger that is in use."""
        self.to_its_end(self._ask(host, operation))
        for grant in self._stored():
            self.to_its_end(one_pass(self.centres[centre].grants, Key("risk", "demo", grant.metadata.name)))
        self.to_its_end(self._ask(host, operation))

    @rule(hosts=st.lists(st.sampled_from(sorted(HOSTS)), min_size=2, max_size=2, unique=True), turns=st.lists(st.booleans(), max_size=30))
    def race(self, hosts: list[str], turns: list[bool]) -> None:
        """Two requests, each answered by another risk centre at the same time; `turns` says who makes the next call."""
        for host in hosts:
            self.to_its_end(self._ask(host, Operation.Drain))
        waiting = [grant.metadata.name for grant in self._stored() if grant.status is None][-2:]
        racers = [self._begun(one_pass(self.centres[n].grants, Key("risk", "demo", name))) for n, name in enumerate(waiting)]
        for turn in turns:
            if racers:
                move(racers[turn % len(racers)])
        for racer in racers:
            self.to_its_end(racer)

    @rule(seconds=st.sampled_from([1, 20, LOOK_EVERY, 300, 601, 90000]))
    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    @rule(centre=st.integers(0, 1), seconds=st.sampled_from([-4000, -30, 0, 30, 4000]))
    def step_clock(self, centre: int, seconds: float) -> None:
        self.centres[centre].skew = seconds

    @rule(host=st.sampled_from(sorted(HOSTS)), sighting=st.sampled_from(list(Sighting)))
    def see(self, host: str, sighting: Sighting) -> None:
        self.sights.of[host] = sighting

    @rule(data=st.data())
    def delete_grant(self, data: st.DataObject) -> None:
        """Somebody with the rights does; then nobody can act on it, and its slot waits for its target."""
        if grants := self._stored():
            name = data.draw(st.sampled_from([grant.metadata.name for grant in grants]))
            del self.kube.objects[GRANTS.ref(name, "demo")]

    @invariant()
    def one_target_in_a_pool(self) -> None:
        entries = Ledger.parse(self.kube.objects[ledger_ref()]).spec.in_flight
        in_ledger = {(entry.target.pool, entry.target.name) for entry in entries}
        usable = defaultdict(set)
        for grant in self._stored():
            if not why_invalid(grant, self.now()):
                scope = grant.spec.target.pool
                usable[scope].add(grant.spec.target.name)
                assert (scope, grant.spec.target.name) in in_ledger, f"{grant.metadata.name} may be used and takes no slot"
        assert all(len(targets) == 1 for targets in usable.values()), usable
        assert len(in_ledger) == len({scope for scope, _ in in_ledger}), in_ledger

    @invariant()
    def never_more_in_a_window(self) -> None:
        """Over everything that was ever logged, in the time that the Ledger says."""
        for each in Ledger.parse(self.kube.objects[ledger_ref()]).spec.log:
            self.spent[each.op_id] = at(each.at)
        moments = sorted(self.spent.values())
        for first, beyond in zip(moments, moments[RATE:], strict=False):
            assert (beyond - first).total_seconds() >= WINDOW, moments


RATE, WINDOW = 5, 600


def known(limit: int) -> Facts:
    """So many targets per pool at a time, and in all of them together so many operations in ten minutes."""
    return facts(budget("pools", concurrency={"count": limit}), budget("rate", "Cluster", rate={"count": RATE, "windowSeconds": WINDOW}))


def move(process: Coroutine[Any, Any, None]) -> bool:
    """One call further; False if it is over."""
    try:
        process.send(None)
    except (StopIteration, KokError):
        return False
    except RuntimeError as error:
        if "cannot reuse already awaited coroutine" not in str(error):
            raise
        return False
    return True


STEPS = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=60, deadline=None)  # more by KOK_EXAMPLES
TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = STEPS


class WithoutComparing(MemoryKube):
    def is_current(self, found: Manifest, resource_version: str) -> bool:
        """The last writer wins."""
        return True


class WithoutTheLedgersVersion(Interleavings):
    kube_class = WithoutComparing


@pytest.mark.parametrize(
    ("machine", "limit", "finds"), [(Interleavings, 1, False), (WithoutTheLedgersVersion, 1, True), (Interleavings, 2, True)]
)
def test_should_find_two_targets_when_it_is_broken(
    machine: type[Interleavings], limit: int, finds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control: what the machine above is there to find, it finds."""
    monkeypatch.setattr(machine, "limit", limit)
    broken = machine()
    broken.begin(epochs=(5, 5))
    broken.race(hosts=["a", "b"], turns=[False, True] * 15)
    with pytest.raises(AssertionError) if finds else nullcontext():
        broken.one_target_in_a_pool()
    broken.teardown()


def test_should_find_too_many_in_a_window_when_nothing_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of the window: a log that forgets lets one more through."""
    for forgets in (False, True):
        broken = Interleavings()
        broken.begin(epochs=(5, 5))
        if forgets:
            monkeypatch.setattr("operators.domain.risk.limits.rate_refusal", lambda weighed: None)
            monkeypatch.setattr("operators.domain.risk.decide.rate_refusal", lambda weighed: None)
        for _ in range(RATE + 1):
            broken.ask_and_be_answered("a", Operation.Drain, 0)
            for process in [broken.holder.settle(grant, Outcome.Succeeded) for grant in broken.held]:
                broken.to_its_end(process)
            broken.wait(1)
        with pytest.raises(AssertionError) if forgets else nullcontext():
            broken.never_more_in_a_window()
        broken.teardown()

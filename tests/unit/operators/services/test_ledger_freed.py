"""A slot that is freed while a request is being weighed: what its holder left behind counts, however the calls fall.

The code under test is the shipped LedgerService, twice, as in a split brain; the API server is in memory, and so are the targets: who is given one
puts it out of service, and may give its slot back without having put it right.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from operators.api.base import API_VERSION
from operators.api.budgets import OperationBudget
from operators.api.risk import InFlight, Ledger, LedgerSpec
from operators.domain.risk.decide import Ask, Granted
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import EntryKey
from operators.services.ledger import LedgerService, ledger_ref
from tests.unit.operators.cluster_operator.risk.memory_kube import MemoryKube, Pause
from tests.unit.operators.cluster_operator.risk.test_interleavings import move
from tests.unit.operators.domain.risk.builders import NOON, ask, budget, facts, machine

HOSTS = ("a", "b", "c", "d")
Process = Coroutine[Any, Any, None]


class Turn:
    """One at a time, as asyncio.Lock, driven by hand."""

    def __init__(self) -> None:
        self.taken = False

    async def __aenter__(self) -> None:
        while self.taken:
            await Pause()
        self.taken = True

    async def __aexit__(self, *_: object) -> None:
        self.taken = False


class SeenTargets:
    """FactsPort: which hosts are out of service at the moment of reading."""

    def __init__(self, sick: set[str], limit: int) -> None:
        self._sick, self._limit = sick, limit

    async def read(self, ask: Ask) -> Facts:
        await Pause()
        found = facts(*await self.budgets(), sick=dict.fromkeys(sorted(self._sick), "its Node is cordoned"))
        await Pause()
        return found

    async def budgets(self) -> tuple[OperationBudget, ...]:
        return (budget(concurrency={"count": self._limit}),)


class FreedSlots(RuleBasedStateMachine):
    """Rules start coroutines, move one by one call, or end it; two services share nothing but the API server."""

    running = Bundle("running")

    @initialize(limit=st.sampled_from([1, 1, 2]))
    def begin(self, limit: int = 1) -> None:
        self.kube, self.limit = MemoryKube(), limit
        self.sick: set[str] = set()
        self.held: dict[EntryKey, str] = {}
        self.begun: list[Process] = []
        self.count = 0
        self._store(LedgerSpec())
        self.services = [LedgerService(self.kube, SeenTargets(self.sick, limit), epoch=lambda: 1, now=lambda: NOON) for _ in range(2)]  # type: ignore[arg-type]
        for service in self.services:
            service._turn = Turn()  # type: ignore[assignment]

    def _store(self, spec: LedgerSpec) -> None:
        metadata = {"name": "ledger", "namespace": "kok-system"}
        self.kube.put(
            {"apiVersion": API_VERSION, "kind": "Ledger", "metadata": metadata, "spec": spec.model_dump(mode="json", by_alias=True)}
        )

    def stored(self) -> LedgerSpec:
        return Ledger.parse(self.kube.objects[ledger_ref()]).spec

    def teardown(self) -> None:
        for process in self.begun:
            process.close()

    def _begun(self, process: Process) -> Process:
        self.begun.append(process)
        return process

    async def _reserve(self, service: int, host: str) -> None:
        self.count += 1
        wanted = ask(f"op-{self.count}", machine(host))
        if isinstance(await self.services[service].reserve(wanted), Granted):
            self.held[wanted.key] = host
            self.sick.add(host)

    async def _release(self, service: int, key: EntryKey, *, heals: bool) -> None:
        if heals:
            self.sick.discard(self.held.get(key, ""))
        await self.services[service].release([key])
        self.held.pop(key, None)

    @rule(target=running, service=st.integers(0, 1), host=st.sampled_from(HOSTS))
    def reserve(self, service: int, host: str) -> Process:
        return self._begun(self._reserve(service, host))

    @rule(target=running, service=st.integers(0, 1), heals=st.booleans(), data=st.data())
    def release(self, service: int, heals: bool, data: st.DataObject) -> Any:
        if not self.held:
            return multiple()
        return self._begun(self._release(service, data.draw(st.sampled_from(sorted(self.held))), heals=heals))

    @rule(process=running)
    def one_call(self, process: Process) -> None:
        move(process)

    @rule(process=running)
    def to_its_end(self, process: Process) -> None:
        for _ in range(300):  # one that waits for the turn of another that was not moved is left where it is
            if not move(process):
                return

    @rule(process=running)
    def crash(self, process: Process) -> None:
        process.close()

    @rule(host=st.sampled_from(HOSTS))
    def heal(self, host: str) -> None:
        """Somebody puts right what was left behind."""
        if host not in self.held.values():
            self.sick.discard(host)

    @rule()
    def make_anew(self) -> None:
        """A person rebuilds the Ledger: what is in flight stays, and the releases are counted from nothing."""
        self._store(self.stored().model_copy(update={"releases": 0}))

    @rule(
        services=st.tuples(st.integers(0, 1), st.integers(0, 1)), hosts=st.permutations(HOSTS), turns=st.lists(st.booleans(), max_size=30)
    )
    def use_up_meanwhile(self, services: tuple[int, int], hosts: list[str], turns: list[bool]) -> None:
        """One is given a host and leaves it as it is, while another asks; `turns` says who makes the next call."""
        asks, uses = self._begun(self._reserve(services[0], hosts[0])), self._begun(self._use(services[1], hosts[1]))
        for turn in turns:
            move(uses if turn else asks)
        self.to_its_end(uses)
        self.to_its_end(asks)

    async def _use(self, service: int, host: str) -> None:
        """From asking to giving back, and what was done is not put right."""
        await self._reserve(service, host)
        for key in [key for key, held in self.held.items() if held == host]:
            await self._release(service, key, heals=False)

    async def _leave(self, host: str) -> None:
        """Its holder puts it out of service and gives the slot back."""
        self.sick.add(host)
        for key in [key for key, held in self.held.items() if held == host]:
            await self._release(0, key, heals=False)

    @invariant()
    def never_more_out_of_service_than_allowed(self) -> None:
        in_ledger = {entry.target.name for entry in self.stored().in_flight}
        assert len(in_ledger | self.sick) <= self.limit, (in_ledger, self.sick)


TestFreedSlots = FreedSlots.TestCase
TestFreedSlots.settings = settings(max_examples=(settings.default or settings()).max_examples // 2, stateful_step_count=50, deadline=None)

Cautious = Callable[[LedgerSpec, LedgerSpec, Mapping[int, InFlight]], LedgerSpec | None]


def _not_cautious(seen: LedgerSpec, stored: LedgerSpec, own: Mapping[int, InFlight]) -> LedgerSpec | None:
    """As if what was freed were of no importance."""
    return stored


def _not_counting(seen: LedgerSpec, stored: LedgerSpec, own: Mapping[int, InFlight]) -> LedgerSpec | None:
    """As if nothing could be taken and freed unseen."""
    freed = [entry for entry in seen.in_flight if entry not in stored.in_flight]
    return stored.model_copy(update={"in_flight": (*stored.in_flight, *freed)})


@pytest.fixture
def slots() -> Iterator[Callable[[], FreedSlots]]:
    """Makes machines, and ends them."""
    made: list[FreedSlots] = []

    def make() -> FreedSlots:
        made.append(FreedSlots())
        made[-1].begin()
        return made[-1]

    yield make
    for each in made:
        each.teardown()


@pytest.mark.parametrize(("broken", "finds"), [(None, False), (_not_cautious, True)])
def test_should_count_what_a_holder_leaves_behind(
    slots: Callable[[], FreedSlots], monkeypatch: pytest.MonkeyPatch, broken: Cautious | None, finds: bool
) -> None:
    """A holder gives its slot back after the request saw the targets and before it is decided; the control decides as if that were nothing."""
    if broken:
        monkeypatch.setattr("operators.services.ledger._as_if_held", broken)
    assert any(_is_exceeded(slots(), calls, unseen=False) for calls in range(20)) == finds


@pytest.mark.parametrize(("broken", "finds"), [(None, False), (_not_counting, True)])
def test_should_count_what_was_taken_and_left_behind_unseen(
    slots: Callable[[], FreedSlots], monkeypatch: pytest.MonkeyPatch, broken: Cautious | None, finds: bool
) -> None:
    if broken:
        monkeypatch.setattr("operators.services.ledger._as_if_held", broken)
    assert any(_is_exceeded(slots(), calls, unseen=True) for calls in range(20)) == finds


def _is_exceeded(machine: FreedSlots, calls: int, *, unseen: bool) -> bool:
    """`b` is asked for, so many calls far; then `a`, held before or not, is given back as it was left."""
    if not unseen:
        machine.to_its_end(machine._reserve(0, "a"))
        machine.sick.discard("a")  # it works as long as its holder has not begun
    asks = machine._begun(machine._reserve(0, "b"))
    for _ in range(calls):
        move(asks)
    if not machine.services[0]._turn.taken:  # type: ignore[attr-defined]
        machine.to_its_end(machine._use(1, "a") if unseen else machine._leave("a"))
    machine.to_its_end(asks)
    try:
        machine.never_more_out_of_service_than_allowed()
    except AssertionError:
        return True
    return False


def test_should_forget_what_it_freed_once_the_ledger_is_made_anew(slots: Callable[[], FreedSlots]) -> None:
    machine = slots()
    for host in ("a", "b"):
        machine.to_its_end(machine._use(0, host))
        machine.sick.clear()
    assert list(machine.services[0]._freed) == [1, 2]
    machine.make_anew()
    machine.to_its_end(machine._reserve(0, "c"))
    assert machine.services[0]._freed == {}


def test_should_remember_no_more_than_it_has_room_for(slots: Callable[[], FreedSlots], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.services.ledger.FREED_ROOM", 3)
    machine = slots()
    for _ in range(5):
        machine.to_its_end(machine._use(0, "a"))
    assert list(machine.services[0]._freed) == [3, 4, 5]

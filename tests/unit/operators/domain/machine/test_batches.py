"""Any interleaving of authorising, updating, failing, dying, healing, restarting and changing one's mind: never more out of service by kok's hand than allowed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from operators.api.hosts import Host
from operators.api.pools import HostRelease, MaxUnavailable, UpdateStrategy
from operators.domain.machine import release
from operators.domain.machine.release import PoolHosts, Verdict, limit_of, next_release

SETS = (("kubelet-1",), ("kubelet-2",), ("kubelet-3",))


@dataclass
class Live:
    """A host as it really is."""

    name: str
    packages: tuple[str, ...]
    works: bool = True
    """Whether it would be in service if nothing were done to it."""
    bad: frozenset[tuple[str, ...]] = field(default_factory=frozenset)
    """Packages that do not work on it."""
    working: tuple[str, ...] = ()
    """What is being put on it: it is out of service."""

    @property
    def is_up(self) -> bool:
        return self.works and not self.working and self.packages not in self.bad


class Pool(RuleBasedStateMachine):
    """What happens, one thing after the other, in any order."""

    @initialize(
        count=st.integers(2, 6), limit=st.integers(0, 3), percent=st.integers(0, 100), floor=st.integers(0, 2), zones=st.integers(1, 3)
    )
    def begin(self, count: int, limit: int, percent: int, floor: int, zones: int) -> None:
        self.hosts = {f"h{n}": Live(f"h{n}", SETS[0]) for n in range(count)}
        self.listed = tuple(Host(name=name, address=f"10.0.0.{n}", zone=f"z{n % zones}") for n, name in enumerate(self.hosts))
        self.strategy = UpdateStrategy(max_unavailable=MaxUnavailable(count=limit, percent=percent, floor=floor), per_zone=2)
        self.wish, self.verdicts = SETS[0], dict[str, Verdict]()
        self.released: tuple[HostRelease, ...] = ()
        self.begun: list[str] = []
        self.authorise()

    @rule()
    def authorise(self) -> None:
        pool = PoolHosts(self.listed, self.wish, self.released, self.verdicts, frozenset())
        before = {entry.name: entry.packages for entry in self.released}
        self.released = next_release(pool, self.strategy, now="2026-01-01T00:00:00Z").hosts
        self.begun = [entry.name for entry in self.released if before and entry.packages != before[entry.name]]
        for name in self.begun:
            self.verdicts.pop(name, None)  # as the pool's act does: what was seen was of what it had before
        if self.begun:
            self.within_limits(set(self.begun))

    def within_limits(self, begun: set[str]) -> None:
        """Those that are authorised and not done, and those that were seen out of service, are never more than allowed."""
        entries = {entry.name: entry for entry in self.released}
        changing = {name for name, host in self.hosts.items() if host.packages != entries[name].packages or host.working}
        seen_down = {name for name, verdict in self.verdicts.items() if not verdict.is_open}
        unseen = set(self.hosts) - set(self.verdicts)
        assert len(changing | seen_down | unseen | begun) <= limit_of(self.strategy, len(self.hosts))
        for zone in {host.zone for host in self.listed if host.name in begun}:
            of_zone = {host.name for host in self.listed if host.zone == zone}
            assert len((changing | seen_down | unseen | begun) & of_zone) <= self.strategy.per_zone

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """A machine's pass: it sees the truth, and reports it for what it is authorised for."""
        host = self._one(data)
        wanted = next(entry.packages for entry in self.released if entry.name == host.name)
        done = host.is_up and host.packages == wanted
        failed = host.packages == wanted and not host.working and not host.is_up
        self.verdicts[host.name] = Verdict(wanted, done, failed, "broken" if failed else "Updating")

    @rule(data=st.data())
    def begin_update(self, data: st.DataObject) -> None:
        host = self._one(data)
        wanted = next(entry.packages for entry in self.released if entry.name == host.name)
        host.working = wanted if wanted != host.packages else ()

    @rule(data=st.data())
    def end_update(self, data: st.DataObject) -> None:
        host = self._one(data)
        if host.working:
            host.packages, host.working = host.working, ()

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self._one(data).works = False

    @rule(data=st.data())
    def heal(self, data: st.DataObject) -> None:
        self._one(data).works = True

    @rule(data=st.data(), packages=st.sampled_from(SETS[1:]))
    def does_not_stand(self, data: st.DataObject, packages: tuple[str, ...]) -> None:
        host = self._one(data)
        if host.packages != packages:
            host.bad = host.bad | {packages}

    @rule(packages=st.sampled_from(SETS))
    def change_the_wish(self, packages: tuple[str, ...]) -> None:
        self.wish = packages

    @precondition(lambda self: self.verdicts)
    @rule()
    def restart_the_operator(self) -> None:
        self.verdicts = {}

    @invariant()
    def nobody_else_follows_a_failure(self) -> None:
        """A change that never came into service on one host is not begun anywhere else after its batch."""
        entries = {entry.name: entry for entry in getattr(self, "released", ())}
        untried = [e for e in entries.values() if e.packages == self.wish and e.before and e.opened_at is None] if entries else []
        assert len(untried) <= max(limit_of(self.strategy, len(self.hosts)), 0) if untried else True

    def _one(self, data: st.DataObject) -> Live:
        return self.hosts[data.draw(st.sampled_from(sorted(self.hosts)))]


SETTINGS = settings(max_examples=25, stateful_step_count=30)
CONTROL = settings(settings.get_profile("control"), stateful_step_count=30)


def test_should_never_take_more_out_of_service_than_allowed_in_any_interleaving() -> None:
    run_state_machine_as_test(Pool, settings=SETTINGS)  # type: ignore[no-untyped-call]


def test_should_notice_batches_that_forget_who_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: with a pool that counts only what it has just authorised, the same run fails."""
    monkeypatch.setattr(release, "is_in_service", lambda *_: True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Pool, settings=CONTROL)  # type: ignore[no-untyped-call]

"""Batches: never more out of service than allowed, never on after a failure, never a new authorisation without a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.api.machines import Host, HostRelease, MaxUnavailable, UpdateStrategy
from operators.domain.machine.release import PoolHosts, Verdict, is_in_service, limit_of, next_release

OLD, NEW = ("kubelet-1",), ("kubelet-2",)
AT = "2026-03-01T12:00:00Z"


def hosts(count: int, zones: int = 0) -> tuple[Host, ...]:
    return tuple(Host(name=f"h{n:03}", address=f"10.0.0.{n}", zone=f"z{n % zones}" if zones else "") for n in range(count))


def entry(name: str, packages: tuple[str, ...] = OLD) -> HostRelease:
    return HostRelease(name=name, packages=packages, at="2026-01-01T00:00:00Z", reason="new host")


def fine(packages: tuple[str, ...] = OLD) -> Verdict:
    return Verdict(packages, is_open=True, is_stalled=False, message="fine")


def strategy(count: int = 1, percent: int = 100, floor: int = 1, **more: object) -> UpdateStrategy:
    return UpdateStrategy(max_unavailable=MaxUnavailable(count=count, percent=percent, floor=floor), per_zone=200, **more)  # type: ignore[arg-type]


def authorised_for(batch: tuple[HostRelease, ...], packages: tuple[str, ...]) -> list[str]:
    return [each.name for each in batch if set(each.packages) == set(packages)]


def test_should_authorise_new_hosts_at_once() -> None:
    batch = next_release(PoolHosts(hosts(5), NEW, (), {}, frozenset()), strategy(), now=AT)
    assert len(authorised_for(batch.hosts, NEW)) == 5
    assert batch.waiting == ""


def test_should_not_touch_a_release_that_is_right() -> None:
    released = tuple(entry(host.name) for host in hosts(3))
    assert next_release(PoolHosts(hosts(3), OLD, released, {}, frozenset()), strategy(), now=AT).hosts == released


def test_should_change_one_host_and_say_for_whom_the_others_wait() -> None:
    released = tuple(entry(host.name) for host in hosts(3))
    batch = next_release(PoolHosts(hosts(3), NEW, released, {h.name: fine() for h in hosts(3)}, frozenset()), strategy(), now=AT)
    assert authorised_for(batch.hosts, NEW) == ["h000"]
    assert batch.waiting == "2 hosts wait: at most 1 may be out of service at once; out now: h000"


def test_should_count_a_host_that_is_out_for_another_reason_and_begin_with_it() -> None:
    released = tuple(entry(host.name) for host in hosts(3))
    verdicts = {"h000": fine(), "h001": fine()}
    batch = next_release(PoolHosts(hosts(3), NEW, released, verdicts, frozenset()), strategy(), now=AT)
    assert authorised_for(batch.hosts, NEW) == ["h002"]


def test_should_stop_at_the_first_failure_of_the_new_packages() -> None:
    released = (entry("h000", NEW), entry("h001"), entry("h002"))
    verdicts = {"h000": Verdict(NEW, False, True, "no space"), "h001": fine(), "h002": fine()}
    batch = next_release(PoolHosts(hosts(3), NEW, released, verdicts, frozenset()), strategy(count=3), now=AT)
    assert authorised_for(batch.hosts, NEW) == ["h000"]
    assert "h000 failed with these packages: no space" in batch.waiting


@pytest.mark.parametrize(("more", "words"), [({"paused": True}, "update.paused"), ({"partition": 3}, "update.partition")])
def test_should_hold_back_what_a_person_holds_back(more: dict[str, object], words: str) -> None:
    released = tuple(entry(host.name) for host in hosts(3))
    verdicts = {h.name: fine() for h in hosts(3)}
    batch = next_release(PoolHosts(hosts(3), NEW, released, verdicts, frozenset()), strategy(count=3, **more), now=AT)
    assert authorised_for(batch.hosts, NEW) == []
    assert words in batch.waiting


def test_should_change_one_host_of_a_zone_at_a_time() -> None:
    made = hosts(4, zones=2)
    released = tuple(entry(host.name) for host in made)
    pool = PoolHosts(made, NEW, released, {h.name: fine() for h in made}, frozenset())
    limits = UpdateStrategy(max_unavailable=MaxUnavailable(count=4, percent=100, floor=1), per_zone=1)
    assert authorised_for(next_release(pool, limits, now=AT).hosts, NEW) == ["h000", "h001"]


def test_should_keep_a_host_that_leaves_until_its_claim_is_gone() -> None:
    released = (entry("h000"), entry("gone"))
    keep = next_release(PoolHosts(hosts(1), OLD, released, {}, frozenset({"gone"})), strategy(), now=AT)
    drop = next_release(PoolHosts(hosts(1), OLD, released, {}, frozenset()), strategy(), now=AT)
    assert [e.name for e in keep.hosts] == ["gone", "h000"]
    assert [e.name for e in drop.hosts] == ["h000"]


@pytest.mark.parametrize(
    ("count", "percent", "floor", "total", "limit"),
    [(2, 10, 1, 19, 1), (2, 10, 1, 20, 2), (2, 10, 1, 200, 2), (5, 0, 0, 100, 0), (5, 0, 1, 100, 1), (1, 10, 1, 3, 1), (0, 100, 0, 9, 0)],
)
def test_should_round_down_with_a_floor(count: int, percent: int, floor: int, total: int, limit: int) -> None:
    assert limit_of(strategy(count, percent, floor), total) == limit


SETS = st.sampled_from([OLD, NEW])
VERDICTS = st.one_of(st.none(), st.builds(Verdict, SETS, st.booleans(), st.booleans(), st.just("x")))


@given(
    st.lists(st.tuples(SETS, VERDICTS), max_size=12), st.integers(0, 5), st.integers(0, 100), st.integers(0, 2), st.integers(1, 3), st.integers(0, 4)
)  # fmt: skip
def test_should_never_take_more_out_of_service_than_allowed(
    states: list[tuple[tuple[str, ...], Verdict | None]], count: int, percent: int, floor: int, per_zone: int, partition: int
) -> None:
    made = hosts(len(states), zones=3)
    released = tuple(entry(host.name, packages) for host, (packages, _) in zip(made, states, strict=True))
    verdicts = {host.name: verdict for host, (_, verdict) in zip(made, states, strict=True) if verdict}
    limits = UpdateStrategy(
        max_unavailable=MaxUnavailable(count=count, percent=percent, floor=floor), per_zone=per_zone, partition=partition
    )
    batch = next_release(PoolHosts(made, NEW, released, verdicts, frozenset()), limits, now=AT)
    out = {e.name for e in released if not is_in_service(e, verdicts)}
    chosen = {e.name for e in batch.hosts} - {e.name for e in batch.hosts if e in released}
    assert [e.name for e in batch.hosts] == [host.name for host in made], "nobody is lost or added"
    if chosen:
        assert len(out | chosen) <= limit_of(limits, len(made))
        zones = {host.name: host.zone for host in made}
        assert all(sum(zones[o] == zones[name] for o in out | chosen) <= per_zone for name in chosen)
        assert not any(v.is_stalled and v.packages == NEW == p for (p, v) in states if v), "nothing starts after a failure"
        assert not chosen & {host.name for host in made[:partition]}
    again = next_release(PoolHosts(made, NEW, batch.hosts, verdicts, frozenset()), limits, now="2027-01-01T00:00:00Z")
    assert not chosen or {e.name for e in again.hosts if e not in batch.hosts} == set(), "the chosen count as out until seen in service"

"""Batches: never more out of service than allowed, never on after a failure, never a new authorisation without a reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.api.hosts import Host
from operators.api.packages import MachinePackageVersion
from operators.api.pending import Effect
from operators.api.pools import HostRelease, MaxUnavailable, UpdateStrategy
from operators.domain.machine.release import Batch, PoolHosts, TakenBack, Verdict, is_in_service, limit_of, next_release
from operators.domain.rollout.bad import FOUND_BAD, NOT_BAD
from operators.errors import ErrorCode

OLD, NEW = ("kubelet-1",), ("kubelet-2",)
AT = "2026-03-01T12:00:00Z"


def hosts(count: int, zones: int = 0) -> tuple[Host, ...]:
    return tuple(Host(name=f"h{n:03}", address=f"10.0.0.{n}", zone=f"z{n % zones}" if zones else "") for n in range(count))


def entry(name: str, packages: tuple[str, ...] = OLD, *, before: tuple[str, ...] = (), opened: bool = False) -> HostRelease:
    at = "2026-01-01T00:00:00Z"
    return HostRelease(name=name, packages=packages, at=at, reason="new host", before=before, opened_at=at if opened else None)


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
    released = tuple(entry(host.name, opened=True) for host in hosts(3))
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


def down(packages: tuple[str, ...]) -> Verdict:
    return Verdict(packages, is_open=False, is_stalled=False, message="kubelet is dead")


@pytest.mark.parametrize(
    ("going_back", "verdicts", "begun"),
    [
        (True, {"h000": fine(NEW), "h001": down(NEW), "h002": down(NEW)}, ["h001"]),
        (True, {"h000": down(NEW), "h001": down(NEW), "h002": down(NEW)}, ["h000"]),
        (False, {"h000": fine(NEW), "h001": down(NEW), "h002": down(NEW)}, []),
        (True, {"h000": fine(NEW)}, []),  # nobody has looked at the others: they may well be in service
    ],
    ids=["two are out", "all are out", "forward", "unknown"],
)
def test_should_mend_hosts_that_are_out_when_it_goes_back(going_back: bool, verdicts: dict[str, Verdict], begun: list[str]) -> None:
    """More are out than may be: taking back what put them out costs nothing more, and waiting for them to heal would be for ever."""
    released = tuple(entry(host.name, NEW, before=OLD, opened=True) for host in hosts(3))
    pool = PoolHosts(hosts(3), OLD, released, verdicts, frozenset(), going_back=going_back)
    assert authorised_for(next_release(pool, strategy(), now=AT).hosts, OLD) == begun


BEGAN, UNDONE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "before", "taken_back", "goes_back"),
    [
        ("2026-01-01T00:00:00Z", OLD, TakenBack(BEGAN, UNDONE), True),
        ("2025-12-31T23:59:59Z", OLD, TakenBack(BEGAN, UNDONE), False),
        ("2026-01-02T00:00:00Z", OLD, TakenBack(BEGAN, UNDONE), False),
        ("2026-01-01T12:00:00Z", ("kubelet-0",), TakenBack(BEGAN, UNDONE), False),
        ("2026-01-01T12:00:00Z", OLD, None, False),
    ],
    ids=["changed by it", "changed before it", "changed after it", "gets something else", "nothing was taken back"],
)
def test_should_go_back_with_the_version_that_its_cluster_goes_back_to(
    at: str, before: tuple[str, ...], taken_back: TakenBack | None, goes_back: bool
) -> None:
    """What goes back asks for leave as a rollback does, and mends what is out: here two of three, where one may be."""
    released = tuple(entry(host.name, NEW, before=before, opened=True).model_copy(update={"at": at}) for host in hosts(3))
    verdicts = {"h000": fine(NEW), "h001": down(NEW), "h002": down(NEW)}
    pool = PoolHosts(hosts(3), OLD, released, verdicts, frozenset(), taken_back=taken_back)
    begun = [each for each in next_release(pool, strategy(), now=AT).hosts if each.packages == OLD]
    assert [(each.name, each.going_back) for each in begun] == ([("h001", True)] if goes_back else [])


@pytest.mark.parametrize("taken_back", [TakenBack(BEGAN, UNDONE), None])
def test_should_tell_a_host_that_goes_back_from_one_that_goes_on(taken_back: TakenBack | None) -> None:
    released = (entry("h000", NEW, before=OLD, opened=True).model_copy(update={"at": "2026-01-01T12:00:00Z"}),)
    pool = PoolHosts(hosts(1), OLD, released, {"h000": fine(NEW)}, frozenset(), taken_back=taken_back)
    assert next_release(pool, strategy(), now=AT).hosts[0].going_back is (taken_back is not None)


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


def test_should_wait_until_the_whole_batch_was_in_service() -> None:
    released = (entry("h000", NEW, before=OLD, opened=True), entry("h001", NEW, before=OLD), *(entry(f"h00{n}") for n in range(2, 6)))
    verdicts = {f"h00{n}": fine(NEW if n < 1 else OLD) for n in range(6) if n != 1}
    waits = next_release(PoolHosts(hosts(6), NEW, released, verdicts, frozenset()), strategy(count=2), now=AT)
    assert authorised_for(waits.hosts, NEW) == ["h000", "h001"]
    assert waits.waiting == "4 hosts wait until h001 is in service with these packages"
    goes_on = next_release(PoolHosts(hosts(6), NEW, released, {**verdicts, "h001": fine(NEW)}, frozenset()), strategy(count=2), now=AT)
    assert authorised_for(goes_on.hosts, NEW) == ["h000", "h001", "h002", "h003"]
    assert [e.opened_at for e in goes_on.hosts if e.name == "h001"] == [AT]


def test_should_remember_a_failure_over_a_restart_that_forgot_every_verdict() -> None:
    """Before the failed host was looked at again, nothing says that it failed: it is no success either."""
    released = (entry("h000", NEW, before=OLD), *(entry(f"h00{n}") for n in range(1, 5)))
    batch = next_release(PoolHosts(hosts(5), NEW, released, {f"h00{n}": fine() for n in range(1, 5)}, frozenset()), strategy(3), now=AT)
    assert authorised_for(batch.hosts, NEW) == ["h000"]


def test_should_not_blame_the_packages_for_a_host_that_died_after_it_was_in_service() -> None:
    released = (entry("h000", NEW, before=OLD, opened=True), *(entry(f"h00{n}") for n in range(1, 4)))
    verdicts = {"h000": Verdict(NEW, False, True, "does not answer"), **{f"h00{n}": fine() for n in range(1, 4)}}
    batch = next_release(PoolHosts(hosts(4), NEW, released, verdicts, frozenset()), strategy(2), now=AT)
    assert authorised_for(batch.hosts, NEW) == ["h000", "h001"], "it counts as out of service, no more"


def test_should_go_back_first_where_it_failed() -> None:
    released = (entry("h000", opened=True), entry("h001", NEW, before=OLD), entry("h002", opened=True))
    verdicts = {"h000": fine(), "h001": Verdict(NEW, False, True, "no space"), "h002": fine()}
    batch = next_release(PoolHosts(hosts(3), OLD, released, verdicts, frozenset()), strategy(), now=AT)
    assert authorised_for(batch.hosts, OLD) == ["h000", "h001", "h002"]
    assert batch.stalled is None


@pytest.mark.parametrize(
    ("most", "changed", "stalled"), [(Effect.Drain, 1, None), (Effect.Restart, 0, ErrorCode.EffectRefused), (Effect.Reboot, 1, None)]
)
def test_should_not_authorise_what_the_pool_forbids(most: Effect, changed: int, stalled: ErrorCode | None) -> None:
    catalogue = {name: kubelet(name, version) for name, version in (("kubelet-1", "1.34.4"), ("kubelet-2", "1.35.4"))}
    released = tuple(entry(host.name) for host in hosts(3))
    pool = PoolHosts(hosts(3), NEW, released, {h.name: fine() for h in hosts(3)}, frozenset(), catalogue)
    batch = next_release(pool, strategy(max_effect=most), now=AT)
    assert len(authorised_for(batch.hosts, NEW)) == changed
    assert batch.stalled is stalled
    if stalled:
        assert batch.waiting == (
            "3 hosts wait: kubelet-1 -> kubelet-2 needs Drain, update.maxEffect allows Restart; raise it, or wish something else"
        )


def test_should_not_bring_what_a_rollout_found_bad_to_a_host_that_does_not_have_it() -> None:
    told = {FOUND_BAD: "train-7: 2026-03-01T11:00:00Z jane h9 has no node"}
    released = (entry("h000", NEW, opened=True), *(entry(f"h00{n}", opened=True) for n in (1, 2)))
    verdicts = {"h000": fine(NEW), "h001": fine(), "h002": fine()}

    def batch(wish: tuple[str, ...], annotations: dict[str, str]) -> Batch:
        found = {"kubelet-1": kubelet("kubelet-1", "1.34.4"), "kubelet-2": kubelet("kubelet-2", "1.35.4", annotations)}
        return next_release(PoolHosts(hosts(3), wish, released, verdicts, frozenset(), found), strategy(), now=AT)

    refused = batch(NEW, told)
    assert (refused.hosts, refused.stalled) == (released, ErrorCode.VersionBad)
    assert refused.waiting.startswith(
        "2 hosts wait: kubelet-2 was found bad by rollout train-7 (jane, 2026-03-01T11:00:00Z: h9 has no node);"
    )
    assert authorised_for(batch(OLD, told).hosts, OLD) == ["h000", "h001", "h002"], "away from it"
    for lifted in ({}, told | {NOT_BAD: "train-7: it was the disk"}):
        assert authorised_for(batch(NEW, lifted).hosts, NEW) == ["h000", "h001"]


def kubelet(name: str, version: str, annotations: dict[str, str] | None = None) -> MachinePackageVersion:
    spec = {"component": "kubelet", "version": version}
    metadata = {"name": name, "annotations": annotations or {}}
    head = {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", "metadata": metadata}
    return MachinePackageVersion.parse({**head, "spec": spec})


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
    before = {e.name: e.packages for e in released}
    chosen = {e.name for e in batch.hosts if e.packages != before[e.name]}
    assert [e.name for e in batch.hosts] == [host.name for host in made], "nobody is lost or added"
    if chosen:
        assert len(out | chosen) <= limit_of(limits, len(made))
        zones = {host.name: host.zone for host in made}
        assert all(sum(zones[o] == zones[name] for o in out | chosen) <= per_zone for name in chosen)
        assert not any(v.is_stalled and v.packages == NEW == p for (p, v) in states if v), "nothing starts after a failure"
        assert not chosen & {host.name for host in made[:partition]}
    left = {name: verdict for name, verdict in verdicts.items() if name not in chosen}
    again = next_release(PoolHosts(made, NEW, batch.hosts, left, frozenset()), limits, now="2027-01-01T00:00:00Z")
    assert not chosen or again.hosts == batch.hosts, "the chosen count as out until seen in service"

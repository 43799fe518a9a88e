"""Jobs: hosts with the same work share a run, a host is in one at a time, tries are counted per work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.api.risk import Operation
from operators.domain.machine.host import Owner
from operators.domain.machine.view import JobPhase, JobState
from operators.errors import ErrorCode, KokError
from operators.machine_operator.jobs import JobLimits, Jobs, Order, batches, ident_of
from operators.ports.ansible import AnsibleJob, HostOutcome, HostWork, JobAction
from operators.ports.ssh import SshTarget
from tests.contract.leave import Leave

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def order(host: str, join: str = "kubelet", action: JobAction = JobAction.Apply) -> Order:
    work = HostWork(
        SshTarget(host, "10.0.0.1", 22, "root", ("k",), "key"),
        Owner("c", "demo", "workers"),
        grant=Leave().given(Operation.DeleteMachine, host),
    )
    return Order(host, action, work, f"work of {host}", join, f"applies {join}")


class Ansible:
    def __init__(self) -> None:
        self.jobs: list[AnsibleJob] = []
        self.fails = False
        self.refuses = False
        self.withheld = ""

    async def run(self, job: AnsibleJob) -> Mapping[str, HostOutcome]:
        self.jobs.append(job)
        if self.refuses:
            raise KokError(ErrorCode.ArtifactMissing, "no artifact abc", "kok assets build")
        if self.withheld:
            return {work.target.name: HostOutcome(0, failed=True, message=self.withheld, withheld=True) for work in job.hosts}
        return {
            work.target.name: HostOutcome(1, self.fails, "copy" if self.fails else "", "no space" if self.fails else "")
            for work in job.hosts
        }

    async def close(self) -> None:
        pass


async def ended(ansible: Ansible, *orders: Order) -> tuple[Jobs, list[str]]:
    woken: list[str] = []
    jobs = Jobs(ansible, woken.append, now=lambda: NOW, limits=JobLimits(window=0))
    serving = asyncio.create_task(jobs.serve())
    for each in orders:
        jobs.submit(each)
    for _ in range(20):
        await asyncio.sleep(0)
    serving.cancel()
    return jobs, woken


async def test_should_join_hosts_with_the_same_work_and_wake_each() -> None:
    ansible = Ansible()
    jobs, woken = await ended(ansible, order("b"), order("a"), order("c", "containerd"), order("d", "clean", JobAction.Clean))
    assert [[work.target.name for work in job.hosts] for job in ansible.jobs] == [["a", "b"], ["c"], ["d"]]
    assert sorted(woken) == ["a", "b", "c", "d"]
    assert jobs.runs == 3


async def test_should_ignore_a_second_order_while_one_is_in_hand() -> None:
    ansible = Ansible()
    await ended(ansible, order("a"), order("a", "other"))
    assert len(ansible.jobs) == 1


async def test_should_count_tries_of_the_same_work_and_say_what_failed() -> None:
    ansible = Ansible()
    ansible.fails = True
    woken: list[str] = []
    jobs = Jobs(ansible, woken.append, now=lambda: NOW, limits=JobLimits(window=0))
    serving = asyncio.create_task(jobs.serve())
    for _ in range(3):
        jobs.submit(order("a"))
        for _ in range(20):
            await asyncio.sleep(0)
    state = jobs.state("a")
    assert state is not None
    assert (state.tries, state.failed, state.message) == (3, True, "task 'copy' failed: no space")
    assert len({job.ident for job in ansible.jobs}) == 3
    jobs.submit(replace(order("a"), signature="other"))
    assert jobs.state("a").tries == 1  # type: ignore[union-attr]
    serving.cancel()


async def test_should_tell_every_host_why_a_run_did_not_start() -> None:
    ansible = Ansible()
    ansible.refuses = True
    jobs, _ = await ended(ansible, order("a"))
    assert jobs.state("a").message == "no artifact abc; kok assets build"  # type: ignore[union-attr]


async def test_should_count_no_try_and_bring_nothing_when_leave_did_not_hold_any_more() -> None:
    ansible = Ansible()
    ansible.withheld = "its leave ran out"
    jobs, woken = await ended(ansible, replace(order("a"), bootstrap="digest of a token"))
    state = jobs.state("a")
    assert state == JobState(JobPhase.Withheld, "work of a", NOW, 0, message="its leave ran out")
    assert woken == ["a"]
    ansible.withheld = ""
    jobs, _ = await ended(ansible, replace(order("a"), bootstrap="digest of a token"))
    assert jobs.state("a") == JobState(JobPhase.Finished, "work of a", NOW, 1, bootstrap="digest of a token"), "the control"


def test_should_take_no_order_to_clean_without_leave() -> None:
    granted = order("a", action=JobAction.Clean)
    with pytest.raises(KokError) as caught:
        replace(granted, work=replace(granted.work, grant=None))
    assert caught.value.code is ErrorCode.GrantInvalid


def test_should_give_the_same_work_the_same_id() -> None:
    one = (order("a"), order("b"))
    assert ident_of(one, 1) == ident_of((order("b"), order("a")), 1)
    assert ident_of(one, 1) != ident_of(one, 2)


@given(
    st.lists(st.tuples(st.text("abc", min_size=1, max_size=3), st.sampled_from("xyz")), max_size=40, unique_by=lambda t: t[0]),
    st.integers(1, 5),
)
def test_should_put_every_order_into_exactly_one_batch_of_its_kind(made: list[tuple[str, str]], size: int) -> None:
    orders = [order(host, join) for host, join in made]
    found = batches(orders, size=size)
    assert sorted(each.host for batch in found for each in batch) == sorted(each.host for each in orders)
    assert all(len(batch) <= size and len({each.join for each in batch}) == 1 for batch in found)


class Slow(Ansible):
    """Counts runs that go on at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    async def run(self, job: AnsibleJob) -> Mapping[str, HostOutcome]:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await asyncio.sleep(0)
        self.now -= 1
        return await super().run(job)


async def test_should_stage_one_batch_after_the_other_and_leave_other_jobs_their_own_pace() -> None:
    for limits, most in ((JobLimits(window=0, hosts=1, runs=1), 1), (JobLimits(window=0, hosts=1), 3)):
        ansible = Slow()
        jobs = Jobs(ansible, lambda host: None, now=lambda: NOW, limits=limits)
        serving = asyncio.create_task(jobs.serve())
        for host in ("a", "b", "c"):
            jobs.submit(order(host))
        for _ in range(60):
            await asyncio.sleep(0)
        serving.cancel()
        assert (len(ansible.jobs), ansible.most) == (3, most)

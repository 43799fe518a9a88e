"""What every EtcdPort does, whoever implements it. Run over the simulated etcd (tests/unit) and over real members (tests/integration)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import pytest

from operators.api.risk import Operation, Target
from operators.domain.plane.etcd_facts import Member
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdPort
from operators.ports.grants import Grant, GrantRequest, OpId
from tests.contract.leave import Leave


class EtcdBench(ABC):
    """One etcd of five possible members, of which the first has begun it."""

    grants: Leave
    port: EtcdPort

    @abstractmethod
    def url(self, ordinal: int) -> str:
        """Peer URL of a member."""

    @abstractmethod
    async def start(self, ordinal: int, members: tuple[Member, ...]) -> None:
        """Start a member that was added, with an empty disk; return when it answers."""

    @abstractmethod
    def kill(self, ordinal: int) -> None:
        """SIGKILL."""

    def pod(self, ordinal: int) -> str:
        return f"demo-etcd-{ordinal}"

    async def leave(self, ordinal: int, operation: Operation = Operation.RemoveEtcdMember) -> Grant:
        target = Target(kind="Pod", name=self.pod(ordinal), cluster="demo")
        request = GrantRequest("demo", operation, target, f"uid-{ordinal}", "cluster-operator/demo", "etcd", "shrink", 0, "a test")
        for _ in range(3):
            answer = await self.grants.ask(request)
            if isinstance(answer, Grant):
                return answer
        raise AssertionError(answer)

    async def soon(self, act: Callable[[], Awaitable[None]], patience: float = 20.0) -> None:
        """Again and again until etcd does not refuse any more: it wants members to be connected for five seconds before one leaves."""
        end = asyncio.get_running_loop().time() + patience
        while True:
            try:
                return await act()
            except KokError as error:
                if error.code is not ErrorCode.EtcdRefused or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(0.2)

    async def grow(self, ordinal: int) -> Member:
        """A member comes, to the end."""
        member = await self.port.add_learner(self.url(ordinal))
        await self.start(ordinal, (await self.port.member_list()).members)
        await self.soon(lambda: self.port.promote(member.id))
        return member


def refused(error: pytest.ExceptionInfo[KokError]) -> bool:
    return error.value.code is ErrorCode.EtcdRefused


class EtcdContract:
    """Tests of one port. A module that runs it has a fixture `bench`."""

    async def test_should_list_its_members_and_say_how_they_are(self, bench: EtcdBench) -> None:
        listed, status = await bench.port.member_list(), await bench.port.status(bench.pod(0))

        (member,) = listed.members
        assert (member.name, member.is_learner, member.id) == (bench.pod(0), False, status.id)
        assert member.peer_url == bench.url(0)
        assert int(listed.cluster_id, 16) > 0
        assert status.leader == status.id != 0
        assert status.raft_index >= status.applied_index > 0
        assert status.version.startswith("3.")
        assert status.database_bytes > 0

    async def test_should_take_one_learner_at_a_time_and_promote_it_only_in_sync(self, bench: EtcdBench) -> None:
        added = await bench.port.add_learner(bench.url(1))
        assert (added.name, added.is_learner, added.peer_url) == ("", True, bench.url(1))

        with pytest.raises(KokError) as twice:
            await bench.port.add_learner(bench.url(1))
        with pytest.raises(KokError) as another:
            await bench.port.add_learner(bench.url(2))
        with pytest.raises(KokError) as early:
            await bench.port.promote(added.id)
        assert refused(twice)
        assert refused(another)
        assert refused(early)

        await bench.start(1, (await bench.port.member_list()).members)
        assert (await bench.port.status(bench.pod(1))).is_learner
        await bench.soon(lambda: bench.port.promote(added.id))
        await bench.port.promote(added.id)  # nothing the second time

        voters = (await bench.port.member_list()).members
        assert {(each.name, each.is_learner) for each in voters} == {(bench.pod(0), False), (bench.pod(1), False)}
        assert not (await bench.port.status(bench.pod(1))).is_learner

    async def test_should_hand_leadership_over(self, bench: EtcdBench) -> None:
        member = await bench.grow(1)
        first = (await bench.port.status(bench.pod(0))).leader

        await bench.soon(lambda: bench.port.move_leader(member.id))
        await bench.port.move_leader(member.id)

        assert first != member.id
        assert (await bench.port.status(bench.pod(0))).leader == member.id

    async def test_should_take_a_member_out_with_leave_only(self, bench: EtcdBench) -> None:
        member = await bench.grow(1)
        other = await bench.leave(1, Operation.RestartMaster)
        with pytest.raises(KokError) as wrong:
            await bench.port.remove_member(member.id, pod=bench.pod(1), grant=other)
        forged = Grant(OpId("none"), "demo", "u", Operation.RemoveEtcdMember, other.target)
        with pytest.raises(KokError) as unknown:
            await bench.port.remove_member(member.id, pod=bench.pod(1), grant=forged)
        assert [wrong.value.code, unknown.value.code] == [ErrorCode.GrantInvalid] * 2
        assert len((await bench.port.member_list()).members) == 2

        grant = await bench.leave(1)
        await bench.soon(lambda: bench.port.remove_member(member.id, pod=bench.pod(1), grant=grant))
        await bench.port.remove_member(member.id, pod=bench.pod(1), grant=grant)  # absent is success

        assert [each.name for each in (await bench.port.member_list()).members] == [bench.pod(0)]

    async def test_should_never_tell_old_news_without_a_quorum(self, bench: EtcdBench) -> None:
        await bench.grow(1)
        bench.kill(1)

        async def lost() -> bool:
            try:
                await bench.port.member_list()
            except KokError as error:
                return error.code in (ErrorCode.Timeout, ErrorCode.Unreachable, ErrorCode.EtcdRefused)
            return False

        for _ in range(100):
            if await lost():
                break
            await asyncio.sleep(0.1)
        assert await lost()
        assert (await bench.port.status(bench.pod(0))).id, "what is left still says how it is"
        with pytest.raises(KokError):
            await bench.port.add_learner(bench.url(2))
        with pytest.raises(KokError) as gone:
            await bench.port.status(bench.pod(1))
        assert gone.value.code is ErrorCode.Unreachable

    async def test_should_give_a_snapshot_in_pieces(self, bench: EtcdBench) -> None:
        assert len(b"".join([piece async for piece in bench.port.snapshot(bench.pod(0))])) > 10

        with pytest.raises(KokError):
            _ = [piece async for piece in bench.port.snapshot("demo-etcd-9")]

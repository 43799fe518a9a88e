"""The operator's part of members that come, go and are lost: what it reads of pods, claims and records, and what it writes.

That no write is lost is proven over real etcds in tests/integration/plane/test_members.py.
"""

from __future__ import annotations

import asyncio

import pytest

from operators.cluster_operator.cluster import kinds
from operators.domain.plane import members as rules
from operators.domain.plane.etcd_view import EtcdView
from operators.domain.plane.member_steps import AddLearner, UpdateRecord
from operators.domain.plane.steps import RollMember
from operators.ports.kube import Invalid, KubePort
from tests.integration.cluster_operator.etcd_pods import EtcdPods, voters, whole, wish
from tests.integration.cluster_operator.world_of_planes import Operator, Stage
from tests.integration.kube_proxies import CrashingKube, Killed

pytestmark = pytest.mark.integration


async def test_should_grow_mend_and_shrink_with_a_fresh_process_each_time(stage: Stage, members: EtcdPods) -> None:
    await stage.create()
    await whole(stage, stage.operator(), members, 1)
    await wish(stage, members=3)
    await whole(stage, stage.operator(), members, 3)
    first = members.etcd.members.copy()

    for kind, name in ((kinds.VOLUME_CLAIM, "data-demo-etcd-1"), (kinds.POD, "demo-etcd-1")):
        await stage.admin.delete(kind.ref(name, stage.namespace))
    operator = stage.operator()
    await stage.until(operator, lambda step: len(first.keys() - members.etcd.members.keys()) == 1)
    await whole(stage, operator, members, 3)

    with pytest.raises(Invalid, match="confirmSingleMember"):
        await wish(stage, members=1)
    await wish(stage, members=1, confirmSingleMember=True)
    await whole(stage, stage.operator(), members, 1)


async def test_should_not_end_any_pod_when_members_come(stage: Stage, members: EtcdPods) -> None:
    await stage.create()
    operator = stage.operator()
    await whole(stage, operator, members, 1)
    pod = await stage.admin.get(kinds.POD.ref("demo-etcd-0", stage.namespace))
    await wish(stage, members=3)
    await whole(stage, operator, members, 3)

    again = await stage.admin.get(kinds.POD.ref("demo-etcd-0", stage.namespace))
    assert pod
    assert again
    assert pod["metadata"]["uid"] == again["metadata"]["uid"]
    assert not [step for step in operator.steps if isinstance(step, RollMember)]


async def _killed_after_each_write(stage: Stage, members: EtcdPods, count: int, processes: int = 150) -> int:
    """Until there are so many members, by processes that each die right after their first accepted write; how many died."""
    for deaths in range(processes):
        try:
            await whole(stage, stage.operator(CrashingKube(stage.admin, after=1)), members, count)
        except Killed:
            await stage.pods.tick()
            continue
        return deaths
    raise AssertionError(f"no {count} members after {processes} processes; voters: {voters(members)}")


@pytest.mark.slow
async def test_should_grow_mend_and_shrink_though_every_process_dies_after_its_first_write(stage: Stage, members: EtcdPods) -> None:
    await stage.create()
    await whole(stage, stage.operator(), members, 1)
    await wish(stage, members=3)
    assert await _killed_after_each_write(stage, members, 3) > 5
    first = members.etcd.members.copy()
    for kind, name in ((kinds.VOLUME_CLAIM, "data-demo-etcd-1"), (kinds.POD, "demo-etcd-1")):
        await stage.admin.delete(kind.ref(name, stage.namespace))
    async with asyncio.timeout(30):
        while members.etcd.alive("demo-etcd-1"):
            await stage.pods.tick()
    assert await _killed_after_each_write(stage, members, 3) > 3
    assert len(first.keys() - members.etcd.members.keys()) == 1, "the lost one was replaced, once"
    await wish(stage, members=1, confirmSingleMember=True)
    await _killed_after_each_write(stage, members, 1)


@pytest.mark.slow
async def test_should_find_rules_that_remember_whom_they_added(stage: Stage, members: EtcdPods, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: the record follows only what the same process has added, so a death in between leaves a member out."""
    await stage.create()
    await whole(stage, stage.operator(), members, 1)
    memory = {"process": 0, "added_by": -1}
    follow, grow, fresh = rules._follow_list, rules._grow, stage.operator

    def forgetful(etcd: EtcdView) -> UpdateRecord | None:
        return follow(etcd) if memory["added_by"] == memory["process"] else None

    def remembering(etcd: EtcdView) -> AddLearner | None:
        step = grow(etcd)
        memory["added_by"] = memory["process"] if step else memory["added_by"]
        return step

    def another(kube: KubePort | None = None) -> Operator:
        memory["process"] += 1
        return fresh(kube)

    monkeypatch.setattr(rules, "_follow_list", forgetful)
    monkeypatch.setattr(rules, "_grow", remembering)
    monkeypatch.setattr(stage, "operator", another)
    await wish(stage, members=3)
    with pytest.raises(AssertionError, match=r"not reached|no 3 members"):
        await _killed_after_each_write(stage, members, 3, processes=25)

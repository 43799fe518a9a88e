"""The operator's part of members that come, go and are lost: what it reads of pods, claims and records, and what it writes.

That no write is lost is proven over real etcds in tests/integration/plane/test_members.py.
"""

from __future__ import annotations

import pytest

from operators.cluster_operator.cluster import kinds
from operators.domain.plane.steps import RollMember
from operators.ports.kube import Invalid
from tests.integration.cluster_operator.etcd_pods import EtcdPods, whole, wish
from tests.integration.cluster_operator.world_of_planes import Stage

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
    await stage.until(operator, lambda step: len(first.keys() - members.etcd.members.keys()) == 1, patience=60)
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

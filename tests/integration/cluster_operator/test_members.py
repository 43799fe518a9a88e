"""The operator's part of members that come, go and are lost: what it reads of pods, claims and records, and what it writes.

Real: the meta API server with the StatefulSet's controller and the protection of claims. Simulated: pods and etcd (its own contract holds it to
the real one). That no write is lost is proven over real etcds in tests/integration/plane/test_members.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from operators.adapters.sim_etcd import SimEtcd, SimEtcds
from operators.cluster_operator.cluster import kinds
from operators.domain.plane.etcd_observed import NO_DATA
from operators.domain.plane.steps import Done, RollMember
from operators.ports.kube import Invalid, Manifest, NotFound, Subresource
from tests.integration.cluster_operator.world_of_planes import READY, GenerousGrants, Operator, Pods, Stage

pytestmark = pytest.mark.integration


@dataclass
class EtcdPods(Pods):
    """Brings pods of etcd up as their start step, their disk and the membership allow; the others as they come."""

    stage: Stage
    etcd: SimEtcd
    disks: dict[str, int] = field(default_factory=dict)
    """uid of a claim -> the member whose data is on it."""

    def __post_init__(self) -> None:
        super().__init__(self.stage.admin, self.stage.namespace)
        self.left_alone.add("etcd")

    async def tick(self) -> None:
        admin, namespace = self.stage.admin, self.stage.namespace
        claims = {each["metadata"]["name"]: each for each in (await admin.list(kinds.VOLUME_CLAIM, namespace=namespace)).items}
        record = await admin.get(kinds.CONFIG_MAP.ref("demo-etcd-bootstrap", namespace))
        pods = (await admin.list(kinds.POD, namespace=namespace, selector="app.kubernetes.io/component=etcd")).items
        there = {each["metadata"]["name"] for each in pods if not each["metadata"].get("deletionTimestamp")}
        for name in [each for each in self.etcd.running if each not in there]:
            self.etcd.stop(name)
        for pod in pods:
            name = pod["metadata"]["name"]
            claim = claims.get(f"data-{name}")
            if claim and name in there:
                await self._show(pod, self._start(name, claim["metadata"]["uid"], record))
        await super().tick()

    def _start(self, name: str, disk: str, record: Manifest | None) -> Manifest:
        """Its start step and etcd, as a status."""
        self.etcd.joined.pop(name, None)
        if disk in self.disks:
            self.etcd.joined[name] = self.disks[disk]
        elif record is None:
            self.etcd.begin({name: f"https://{name}.demo-etcd-peer.{self.stage.namespace}.svc:2380"})
        elif name not in json.loads(record["data"]["added"]):
            return _status(name, NO_DATA, ready=False)
        if not self.etcd.start(name):
            return _status(name, 0, ready=False)
        self.disks[disk] = self.etcd.joined[name]
        member = self.etcd.alive(name)
        return _status(name, 0, ready=bool(member and not member.is_learner))

    async def _show(self, pod: Manifest, wanted: Manifest) -> None:
        shown = pod.get("status") or {}
        if all(shown.get(part) == value for part, value in wanted.items()):
            return
        try:
            await self.stage.admin.patch_json(
                kinds.POD.ref(pod["metadata"]["name"], self.stage.namespace), {"status": wanted}, subresource=Subresource.Status
            )
        except (NotFound, Invalid):
            return


def _status(name: str, code: int, *, ready: bool) -> Manifest:
    ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": None, "finishedAt": None}
    start = {"name": "start", "image": "x", "imageID": "", "ready": code == 0, "restartCount": 0, "state": {"terminated": ended}}
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    ip = f"10.9.0.{int(name[-1]) + 1}"
    return {
        "phase": READY["phase"] if code == 0 else "Pending",
        "conditions": conditions,
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "initContainerStatuses": [start],
    }


@pytest.fixture
def members(stage: Stage) -> EtcdPods:
    """The stage with an etcd whose members answer."""
    etcds = SimEtcds(GenerousGrants())
    stage.etcd = etcds
    etcd = etcds.etcds[f"{stage.namespace}/demo-etcd"] = SimEtcd()
    stage.pods = EtcdPods(stage, etcd)
    return stage.pods


async def wish(stage: Stage, **etcd: object) -> None:
    await stage.admin.patch_json(kinds.CLUSTER.ref("demo", stage.namespace), {"spec": {"etcd": etcd}})


def voters(members: EtcdPods) -> list[str]:
    return sorted(member.name for member in members.etcd.voters)


async def whole(stage: Stage, operator: Operator, members: EtcdPods, count: int) -> None:
    """Until there are so many voters, all is done, and nothing of others is left."""

    def reached(step: object) -> bool:
        return isinstance(step, Done) and voters(members) == [f"demo-etcd-{each}" for each in range(count)]

    await stage.until(operator, reached, patience=90)
    claims = (await stage.admin.list(kinds.VOLUME_CLAIM, namespace=stage.namespace)).items
    assert sorted(each["metadata"]["name"] for each in claims) == [f"data-demo-etcd-{each}" for each in range(count)]
    record = await stage.admin.get(kinds.CONFIG_MAP.ref("demo-etcd-bootstrap", stage.namespace))
    assert record
    assert (len(json.loads(record["data"]["members"])), json.loads(record["data"]["added"])) == (count, [])


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

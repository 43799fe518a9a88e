"""Pods of etcd for tests of the Cluster controller: they come up as their start step, their disk, their node and the membership allow.

Real: the meta API server with the StatefulSet's controller and the protection of claims. Simulated: pods and etcd (its own contract holds it to
the real one). Used by the tests of members and of nodes that are gone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from operators.adapters.sim_etcd import SimEtcd
from operators.cluster_operator.cluster import kinds
from operators.domain.plane.etcd_observed import NO_DATA
from operators.domain.plane.steps import Done
from operators.ports.kube import Invalid, Manifest, NotFound, Subresource
from tests.integration.cluster_operator.pod_status import shows
from tests.integration.cluster_operator.world_of_planes import READY, Operator, Pods, Stage


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
            if claim and name in there and pod["spec"].get("nodeName") not in self.dead:
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
        if shows(pod.get("status") or {}, wanted):
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


async def wish(stage: Stage, **etcd: object) -> None:
    await stage.admin.patch_json(kinds.CLUSTER.ref("demo", stage.namespace), {"spec": {"etcd": etcd}})


def voters(members: EtcdPods) -> list[str]:
    return sorted(member.name for member in members.etcd.voters)


async def whole(stage: Stage, operator: Operator, members: EtcdPods, count: int) -> None:
    """Until there are so many voters, all is done, and nothing of others is left."""

    def reached(step: object) -> bool:
        return isinstance(step, Done) and voters(members) == [f"demo-etcd-{each}" for each in range(count)]

    await stage.until(operator, reached)
    claims = (await stage.admin.list(kinds.VOLUME_CLAIM, namespace=stage.namespace)).items
    assert sorted(each["metadata"]["name"] for each in claims) == [f"data-demo-etcd-{each}" for each in range(count)]
    record = await stage.admin.get(kinds.CONFIG_MAP.ref("demo-etcd-bootstrap", stage.namespace))
    assert record
    assert (len(json.loads(record["data"]["members"])), json.loads(record["data"]["added"])) == (count, [])

"""A meta cluster for one etcd, with everything real but Kubernetes: the members are processes with their pods' arguments, keys and start steps.

Stands for the StatefulSet's controller (pods of the ordinals below `replicas`), the kubelet (starts what ended), the disks (folders) and the
record (a mapping); the operator's part is its own: the rules of membership decide, the adapter does it. A writer writes all the time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import aiohttp

from operators.adapters.etcd import EtcdClusters
from operators.api.risk import Operation, Target
from operators.domain.plane.desired_bootstrap import EtcdBootstrap
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.etcd_facts import Member, MemberStatus
from operators.domain.plane.etcd_identity import first_records
from operators.domain.plane.etcd_observed import NO_DATA
from operators.domain.plane.etcd_shape import shape_of
from operators.domain.plane.etcd_view import EtcdView, MemberPod, MemberVolume
from operators.domain.plane.inputs import Names
from operators.domain.plane.member_steps import (
    AddLearner,
    DiscardMember,
    HandOverLeadership,
    MemberStep,
    Promote,
    RemoveMember,
    RestartPod,
    UpdateRecord,
)
from operators.domain.plane.members import next_repair, next_shrink, waits_for
from operators.domain.plane.steps import RollMember
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdAccess, MemberAddress, MemberList
from operators.ports.grants import Grant, GrantRequest
from tests.contract.leave import Leave
from tests.integration.plane.rendered_plane import RenderedPlane
from tests.unit.operators.domain.plane.rendered import a_cluster

RECORD = ObjectId("v1", "ConfigMap", "demo", "demo-etcd-bootstrap")


@dataclass
class Pod:
    uid: str
    code: int | None = None
    """How its start step ended."""
    outdated: bool = False
    gone_node: str = ""


@dataclass
class Told:
    """One step of the operator, when it was taken."""

    at: float
    step: MemberStep | RollMember


class EtcdWorld:
    def __init__(self, members: int) -> None:
        self.cluster = a_cluster(etcd={"members": members})
        self.plane = RenderedPlane(self.cluster)
        self.names = Names.of(self.cluster)
        self.leave = Leave()
        self.clusters = EtcdClusters(self.leave)
        self.wanted, self.confirmed = members, False
        self.objects: dict[ObjectId, dict] = {}
        self.pods: dict[int, Pod] = {}
        self.volumes: dict[int, MemberVolume] = {}
        self.told: list[Told] = []
        self.operator_runs = True
        self._made = 0

    # what Kubernetes does

    async def kubelet(self) -> None:
        replicas = shape_of(self.cluster, "etcd", self.objects).replicas
        for ordinal in [each for each in self.pods if each >= replicas]:
            self.end_pod(ordinal)
            del self.pods[ordinal]
        for ordinal in range(replicas):
            if ordinal not in self.pods:
                self.pods[ordinal] = Pod(self._uid())
            if ordinal not in self.volumes or self.volumes[ordinal].ending:
                shutil.rmtree(self.plane.data_of(self.name(ordinal)), ignore_errors=True)
                self.volumes[ordinal] = MemberVolume(f"data-{self.name(ordinal)}", self._uid())
        await asyncio.gather(*(self._run(ordinal) for ordinal in list(self.pods)))

    async def _run(self, ordinal: int) -> None:
        pod, child = self.pods[ordinal], self.plane.children.get(self.name(ordinal))
        if pod.gone_node or (child and child.process and child.process.poll() is None):
            return
        record = self.objects.get(RECORD)
        data = {key: self._local(value) for key, value in record["data"].items()} if record else None
        done = await asyncio.to_thread(self.plane.start_member, self.name(ordinal), data)
        pod.code = done.returncode

    def _uid(self) -> str:
        self._made += 1
        return f"uid-{self._made}"

    def _local(self, text: str) -> str:
        for pod, at in self.plane.members.items():
            text = text.replace(f"{pod}.demo-etcd-peer.demo.svc", at)
        return text

    def name(self, ordinal: int) -> str:
        return f"demo-etcd-{ordinal}"

    def end_pod(self, ordinal: int) -> None:
        """Its process goes; whoever makes pods makes another."""
        if self.name(ordinal) in self.plane.children:
            self.plane.kill(self.name(ordinal))

    # what goes wrong

    def kill(self, ordinal: int) -> None:
        """SIGKILL: the kubelet starts it again in the same pod."""
        self.plane.kill(self.name(ordinal))

    def delete_pod(self, ordinal: int) -> None:
        self.end_pod(ordinal)
        self.pods.pop(ordinal, None)

    def lose_disk(self, ordinal: int) -> None:
        """Somebody deletes the claim and the pod."""
        self.volumes.pop(ordinal)
        self.delete_pod(ordinal)

    def lose_node(self, ordinal: int) -> None:
        """Its node is gone for ever, with the disk."""
        self.end_pod(ordinal)
        words = "node w1, which does not exist any more"
        self.pods[ordinal].gone_node = words
        self.volumes[ordinal] = replace(self.volumes[ordinal], gone_node=words)

    # what the operator does

    @property
    def access(self) -> EtcdAccess:
        data = {name: base64.b64decode(value).decode() for name, value in self.plane.secrets["demo-etcd-operator-client"].data.items()}
        running = [each for each in sorted(self.pods) if not self.pods[each].gone_node]
        members = tuple(
            MemberAddress(self.name(each), self.plane.members[self.name(each)], f"{self.name(each)}.demo-etcd-peer.demo.svc")
            for each in running
        )
        return EtcdAccess("demo/demo-etcd", members, data["ca.crt"], data["tls.crt"], data["tls.key"])

    async def view(self) -> EtcdView:
        port = self.clusters.connect(self.access)

        async def status(pod: str) -> MemberStatus | None:
            try:
                return await port.status(pod)
            except KokError:
                return None

        silent, listed = "", MemberList("", ())
        try:
            listed = await port.member_list()
        except KokError as error:
            silent = error.message
        answers = await asyncio.gather(*(status(each.pod) for each in self.access.members))
        record = self.objects[RECORD]["data"]
        shape = shape_of(self.cluster, "etcd", self.objects)
        return EtcdView(
            etcd="etcd",
            names=self.names,
            wanted=self.wanted,
            replicas=shape.replicas,
            record=EtcdBootstrap(
                record["clusterID"], record["token"], tuple(json.loads(record["added"])), tuple(json.loads(record["members"])), 1
            ),
            cluster_id=listed.cluster_id,
            members=tuple(replace(each, peer_url=self._named(each)) for each in listed.members),
            silent=silent,
            statuses={each.id: each for each in answers if each},
            pods={each: self._pod(each, pod) for each, pod in self.pods.items()},
            volumes=dict(self.volumes),
            single_confirmed=self.confirmed,
        )

    def _pod(self, ordinal: int, pod: Pod) -> MemberPod:
        answers = self.plane.children.get(self.name(ordinal)) is not None
        return MemberPod(
            self.name(ordinal),
            pod.uid,
            ready=answers and pod.code == 0,
            empty=pod.code == NO_DATA,
            begun=pod.code == 0,
            outdated=pod.outdated,
            gone_node=pod.gone_node,
        )

    def _named(self, member: Member) -> str:
        """Names stand for addresses that the loopback has not."""
        names = {f"https://{at}:2380": f"https://{pod}.demo-etcd-peer.demo.svc:2380" for pod, at in self.plane.members.items()}
        return names.get(member.peer_url, member.peer_url)

    async def operator(self) -> None:
        """One pass."""
        if RECORD not in self.objects:
            ready = [
                each
                for each in self.pods
                if self.plane.probe(self.name(each), "readinessProbe", self.plane.members[self.name(each)]) == 200
            ]
            if len(ready) == len(self.pods) > 0:
                (record,) = first_records(self.cluster, {"etcd": (len(ready), ())})
                self.objects[RECORD] = record
            return
        view = await self.view()
        step = next_repair(view) or next_shrink(view)
        if step is None:
            return
        self.told.append(Told(time.monotonic(), step))
        try:
            await self._act(step)
        except KokError as error:
            if error.code not in (ErrorCode.EtcdRefused, ErrorCode.Unreachable, ErrorCode.Timeout):
                raise

    async def _act(self, step: MemberStep | RollMember) -> None:
        port = self.clusters.connect(self.access)
        match step:
            case UpdateRecord(added=added, members=members):
                self.objects[RECORD]["data"] |= {"added": json.dumps(list(added)), "members": json.dumps(list(members))}
            case AddLearner(peer_url=url):
                await port.add_learner(self._local(url))
            case Promote(member_id=member):
                await port.promote(member)
            case HandOverLeadership(member_id=member):
                await port.move_leader(member)
            case RemoveMember(member_id=member, pod=pod):
                target = Target(kind="Pod", name=pod, cluster="demo")
                request = GrantRequest("demo", Operation.RemoveEtcdMember, target, str(member), "o", "etcd", step.why, 0, step.reason)
                grant = await self.leave.ask(request)
                assert isinstance(grant, Grant)
                await port.remove_member(member, pod=pod, grant=grant)
            case DiscardMember(claim=claim, pod=pod):
                if claim:
                    self.volumes.pop(int(claim[-1]))
                if pod:
                    self.delete_pod(int(pod[-1]))
            case RestartPod(pod=pod) | RollMember(pod=pod):
                self.delete_pod(int(pod[-1]))

    async def until(self, what: str, holds: Callable[[EtcdView], bool], patience: float = 60.0) -> EtcdView:
        """Kubernetes and the operator go on until it holds."""
        end = time.monotonic() + patience
        words = ""
        while time.monotonic() < end:
            await self.kubelet()
            await self.operator()
            if RECORD in self.objects:
                view = await self.view()
                words = view.silent or waits_for(view)
                if not view.silent and holds(view):
                    return view
            await asyncio.sleep(0.1)
        raise AssertionError(f"{what} did not come true: {words}; last steps: {[each.step for each in self.told[-6:]]}")

    async def settled(self) -> EtcdView:
        """As many voters as wanted, all well, nothing left to do."""

        def is_settled(view: EtcdView) -> bool:
            return not next_repair(view) and not next_shrink(view) and not waits_for(view) and len(view.statuses) == self.wanted

        return await self.until(f"{self.wanted} members", is_settled)

    async def close(self) -> None:
        await self.clusters.close()
        self.plane.close()


@dataclass
class Writer:
    """Writes numbers, one after the other, to whichever member takes them, and keeps what was acknowledged."""

    world: EtcdWorld
    acknowledged: list[int] = field(default_factory=list)
    longest_gap: float = 0.0

    async def run(self) -> None:
        data = {
            name: base64.b64decode(value).decode() for name, value in self.world.plane.secrets["demo-etcd-operator-client"].data.items()
        }
        folder = self.world.plane.folder
        (folder / "writer.pem").write_text(data["tls.crt"] + data["tls.key"])
        context = ssl.create_default_context(cadata=data["ca.crt"])
        context.load_cert_chain(folder / "writer.pem")
        limits = aiohttp.ClientTimeout(total=1.0)
        last, number, turn = time.monotonic(), 0, 0
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=limits) as session:
            while True:
                pod = self.world.name(turn % 5)
                if await self._put(session, pod, number):
                    self.longest_gap, last = max(self.longest_gap, time.monotonic() - last), time.monotonic()
                    self.acknowledged.append(number)
                    number += 1
                    await asyncio.sleep(0.01)
                else:
                    turn += 1
                    number += 1
                    await asyncio.sleep(0.02)

    async def _put(self, session: aiohttp.ClientSession, pod: str, number: int) -> bool:
        key = base64.b64encode(f"n{number:09d}".encode()).decode()
        try:
            async with session.post(
                f"https://{self.world.plane.members[pod]}:2379/v3/kv/put",
                json={"key": key, "value": key},
                server_hostname=f"{pod}.demo-etcd-peer.demo.svc",
            ) as answer:
                await answer.read()
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def lost(self) -> list[int]:
        """Acknowledged and not there any more, by a linearizable read."""
        data = {
            name: base64.b64decode(value).decode() for name, value in self.world.plane.secrets["demo-etcd-operator-client"].data.items()
        }
        context = ssl.create_default_context(cadata=data["ca.crt"])
        context.load_cert_chain(self.world.plane.folder / "writer.pem")
        ask = {"key": base64.b64encode(b"n").decode(), "range_end": base64.b64encode(b"o").decode(), "keys_only": True}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            pod = self.world.name(0)
            async with session.post(
                f"https://{self.world.plane.members[pod]}:2379/v3/kv/range", json=ask, server_hostname=f"{pod}.demo-etcd-peer.demo.svc"
            ) as answer:
                body = await answer.json()
        there = {int(base64.b64decode(each["key"])[1:]) for each in body.get("kvs") or ()}
        return [number for number in self.acknowledged if number not in there]

"""Does the steps that change an etcd's members: one act each, safe to repeat after a crash anywhere inside. Decides nothing; called by act.

Whoever takes a member out has leave of the risk centre for it; the adapter reads it again right before.
"""

from __future__ import annotations

import json

from operators.api.risk import Operation, Outcome, Purpose
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.etcd_look import cached_pods, etcd_port
from operators.cluster_operator.cluster.grants import Act, acquire, settle
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.member_steps import (
    AddLearner,
    DiscardMember,
    HandOverLeadership,
    MemberStep,
    Promote,
    Removal,
    RemoveMember,
    RestartPod,
    UpdateRecord,
)
from operators.domain.plane.view import PlaneView
from operators.engine.reconcile import Waits
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdPort
from operators.ports.kube import Preconditions


class EtcdActor:
    """Does member steps."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def act(self, view: PlaneView, step: MemberStep) -> Waits | None:
        """Do it, or say what it waits for. Raises KokError."""
        match step:
            case UpdateRecord():
                await self._record(view, step)
            case AddLearner(etcd=etcd, peer_url=url):
                await self._port(view, etcd).add_learner(url)
            case Promote(etcd=etcd, member_id=member):
                return await self._promote(self._port(view, etcd), member)
            case HandOverLeadership(etcd=etcd, member_id=member):
                await self._port(view, etcd).move_leader(member)
            case RemoveMember():
                return await self._remove(view, step)
            case DiscardMember():
                await self._discard(view, step)
            case RestartPod():
                return await self._restart(view, step)
        return None

    def _port(self, view: PlaneView, etcd: str) -> EtcdPort:
        return etcd_port(self._world, view, etcd, cached_pods(self._world, view.names, etcd))

    async def _record(self, view: PlaneView, step: UpdateRecord) -> None:
        """A compare-and-swap on the record that was seen: of two processes one is told to look again."""
        names = view.names
        ref = kinds.CONFIG_MAP.ref(names[f"{step.etcd}-bootstrap"], names.namespace)
        seen = next((each for found, each in view.objects.items() if found.kind == "ConfigMap" and found.name == ref.name), None)
        if seen is None:
            raise KokError(ErrorCode.Conflict, f"{ref} is not there any more")
        data = {"added": json.dumps(list(step.added)), "members": json.dumps(list(step.members))}
        version = str(seen["metadata"].get("resourceVersion") or "")
        self._world.cache.put(await self._world.meta.patch_json(ref, {"data": data}, resource_version=version))

    async def _promote(self, port: EtcdPort, member: int) -> Waits | None:
        """etcd itself has the last word on whether a learner has caught up."""
        try:
            await port.promote(member)
        except KokError as error:
            if error.code is not ErrorCode.EtcdRefused:
                raise
            return Waits(error.message, 1.0)
        return None

    async def _remove(self, view: PlaneView, step: RemoveMember) -> Waits | None:
        pod = next((each for each in view.etcds[step.etcd].pods.values() if each.name == step.pod), None)
        purpose = Purpose.Repair if step.why is Removal.Replace else Purpose.Forward
        uid = pod.uid if pod else f"{step.member_id:x}"
        act = Act(Operation.RemoveEtcdMember, "Pod", step.pod, uid, step.etcd, step.why.value, step.reason, purpose)
        grant = await acquire(self._world, view.cluster, act)
        if isinstance(grant, Waits):
            return grant
        await self._port(view, step.etcd).remove_member(step.member_id, pod=step.pod, grant=grant)
        if step.why is Removal.Shrink:
            await settle(self._world, grant, Outcome.Succeeded)
        return None

    async def _restart(self, view: PlaneView, step: RestartPod) -> Waits | None:
        if step.needs_leave:
            act = Act(Operation.RestartMaster, "Pod", step.pod, step.pod_uid, "node-gone", "member", step.reason, Purpose.Repair)
            grant = await acquire(self._world, view.cluster, act)
            if isinstance(grant, Waits):
                return grant
            ref = kinds.POD.ref(step.pod, view.names.namespace)
            await self._world.danger.end_pod(ref, step.pod_uid, view.cluster.metadata.name, grant, force=step.force)
            return None
        await self._end_idle(view, step.pod, step.pod_uid, force=step.force)
        return None

    async def _discard(self, view: PlaneView, step: DiscardMember) -> None:
        """The claim first: its end waits for the pod's, and a pod made in between would only meet the old one again.

        Nobody is asked for leave, for nothing is lost that an etcd still counts on; so that is asked once more, of a quorum, right before.
        """
        namespace = view.names.namespace
        await self._refuse_member(view, step)
        if step.claim:
            await self._world.meta.delete(kinds.VOLUME_CLAIM.ref(step.claim, namespace), preconditions=Preconditions(uid=step.claim_uid))
        if step.pod:
            await self._end_idle(view, step.pod, step.pod_uid, force=step.force)

    async def _refuse_member(self, view: PlaneView, step: DiscardMember) -> None:
        found = await self._port(view, step.etcd).member_list()
        member = next((each for each in found.members if view.etcds[step.etcd].ordinal(each) == step.ordinal), None)
        if member is not None:
            words = f"ordinal {step.ordinal} of {step.etcd} is a member again ({member.id:x}): its pod and its volume stay"
            raise KokError(ErrorCode.Conflict, words, "nothing was done")

    async def _end_idle(self, view: PlaneView, pod: str, uid: str, *, force: bool) -> None:
        """The very pod that was seen, which serves nobody. By force only where no kubelet is left that would confirm its end."""
        terms = Preconditions(uid=uid, grace_seconds=0 if force else None)
        await self._world.meta.delete(kinds.POD.ref(pod, view.names.namespace), preconditions=terms)

"""Asks the etcds of a plane who their members are and how each is, and which nodes are gone for good. Reads only; called by observe.

Members and pods are read live, since what is decided on them is risky. An etcd that has, and shall have, one member is not asked unless its node
is gone: there is nothing to decide. Nodes and volumes are looked at only while a pod of a plane that once lived is not ready.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from operators.api.base import LABEL_CLUSTER, LABEL_COMPONENT
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.desired_bootstrap import EtcdBootstrap
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.etcd_facts import MemberStatus
from operators.domain.plane.etcd_observed import home_of, member_pods, member_volumes, node_of, why_gone
from operators.domain.plane.etcd_shape import record_of, shape_of
from operators.domain.plane.etcd_view import EtcdView, MemberPod
from operators.domain.plane.inputs import Manifest, Names, etcds_of
from operators.domain.plane.view import PlaneView
from operators.domain.plane.workloads import component_of, is_ready, name_of, ordinal_of
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdAccess, EtcdPort, MemberAddress, MemberList
from operators.ports.kube import Kind

NODE, VOLUME = Kind("v1", "Node"), Kind("v1", "PersistentVolume")
READ_SECONDS = 5.0
ETCDS = ("etcd", "etcd-events")


@dataclass(frozen=True, slots=True)
class PlaneMembers:
    """What was found: asked etcds, and pods of other components on nodes that are gone."""

    etcds: Mapping[str, EtcdView]
    stranded: tuple[MemberPod, ...] = ()


async def look_at_members(world: World, view: PlaneView, cached_pods: Sequence[Manifest]) -> PlaneMembers:
    """Everything the rules of membership want to know. What does not answer is part of the view, never an error."""
    if view.unrecorded or world.etcd is None:
        return PlaneMembers({})
    gone = await _gone_nodes(world, [pod for pod in cached_pods if not is_ready(pod)])
    wanted = [(etcd, record) for etcd in etcds_of(view.cluster) if (record := record_of(view.cluster, etcd, view.objects))]
    cut_off = {component_of(pod) for pod in cached_pods if gone.get(node_of(pod))}
    asked = [(etcd, record) for etcd, record in wanted if etcd in cut_off or _is_asked(view, etcd, record)]
    found = await asyncio.gather(*(_look(world, view, etcd, record) for etcd, record in asked))
    others = [pod for pod in cached_pods if component_of(pod) not in ETCDS and gone.get(node_of(pod))]
    stranded = tuple(MemberPod(name_of(pod), str(pod["metadata"]["uid"]), gone_node=gone[node_of(pod)]) for pod in others)
    return PlaneMembers({etcd.etcd: etcd for etcd in found}, stranded)


def _is_asked(view: PlaneView, etcd: str, record: EtcdBootstrap) -> bool:
    """Not one that has and shall have one member, and nothing left of others."""
    several = view.cluster.spec.etcd.members > 1 or len(record.members) > 1 or bool(record.added)
    return several or len(_claims(view, etcd)) > 1


def _claims(view: PlaneView, etcd: str) -> list[Manifest]:
    return [each for found, each in view.objects.items() if found.kind == kinds.VOLUME_CLAIM.kind and component_of(each) == etcd]


async def _look(world: World, view: PlaneView, etcd: str, record: EtcdBootstrap) -> EtcdView:
    names, wish = view.names, view.cluster.spec.etcd
    selector = f"{LABEL_CLUSTER}={names.cluster},{LABEL_COMPONENT}={etcd}"
    pods = (await world.meta.list(kinds.POD, namespace=names.namespace, selector=selector, deadline=READ_SECONDS)).items
    unready = [pod for pod in pods if not is_ready(pod)]
    claims = _claims(view, etcd)
    gone, homeless = await asyncio.gather(_gone_nodes(world, unready), _homeless(world, claims, pods))
    listed, statuses, silent = await _ask(world, view, etcd, pods)
    return EtcdView(
        etcd=etcd,
        names=names,
        wanted=wish.members,
        replicas=shape_of(view.cluster, etcd, view.objects).replicas,
        record=record,
        cluster_id=listed.cluster_id,
        members=listed.members,
        silent=silent,
        statuses=statuses,
        pods=member_pods(pods, _revision(view, etcd), gone),
        volumes=member_volumes(claims, homeless),
        single_confirmed=wish.confirm_single_member,
    )


def _revision(view: PlaneView, etcd: str) -> str:
    """The revision that pods should have; empty while the StatefulSet's controller has not seen the last spec."""
    live = view.objects.get(ObjectId("apps/v1", "StatefulSet", view.names.namespace, view.names[etcd])) or {"metadata": {}}
    status = live.get("status") or {}
    seen = int(status.get("observedGeneration") or 0) >= int(live["metadata"].get("generation") or 0)
    return str(status.get("updateRevision") or "") if seen else ""


async def _ask(world: World, view: PlaneView, etcd: str, pods: Sequence[Manifest]) -> tuple[MemberList, dict[int, MemberStatus], str]:
    """The member list, the statuses of those that answer by member id, and why there is no list."""
    nothing = MemberList("", ())
    try:
        port = etcd_port(world, view, etcd, pods)
    except KokError as error:
        return nothing, {}, error.message
    asked = asyncio.gather(*(_status(port, name_of(pod)) for pod in pods if _address(pod)))
    listed, answers = await asyncio.gather(_listed(port), asked)
    statuses = {status.id: status for status in answers if status}
    return (nothing, statuses, listed) if isinstance(listed, str) else (listed, statuses, "")


async def _listed(port: EtcdPort) -> MemberList | str:
    try:
        return await port.member_list()
    except KokError as error:
        return error.message


async def _status(port: EtcdPort, pod: str) -> MemberStatus | None:
    try:
        return await port.status(pod)
    except KokError:
        return None


def etcd_port(world: World, view: PlaneView, etcd: str, pods: Iterable[Manifest]) -> EtcdPort:
    """The port to an etcd through those of its pods that have an address. Raises KokError when there is no way or no key."""
    if world.etcd is None:
        raise KokError(ErrorCode.Unreachable, "this operator has no way to etcd")
    names = view.names
    data = (view.objects.get(ObjectId("v1", "Secret", names.namespace, names["etcd-operator-client"])) or {}).get("data") or {}
    try:
        ca, certificate, key = (base64.b64decode(data[part], validate=True).decode() for part in ("ca.crt", "tls.crt", "tls.key"))
    except (KeyError, binascii.Error, UnicodeDecodeError) as error:
        raise KokError(ErrorCode.SecretMissing, f"Secret {names.namespace}/{names['etcd-operator-client']} holds no key") from error
    members = tuple(
        MemberAddress(name_of(pod), _address(pod), names.etcd_member_host(etcd, ordinal_of(name_of(pod)))) for pod in pods if _address(pod)
    )
    return world.etcd.connect(EtcdAccess(f"{names.namespace}/{names[etcd]}", members, ca, certificate, key))


async def forget_members(world: World, names: Names) -> None:
    """The Cluster is gone: close the sessions to its etcds."""
    if world.etcd is not None:
        for etcd in ETCDS:
            await world.etcd.forget(f"{names.namespace}/{names[etcd]}")


def cached_pods(world: World, names: Names, etcd: str) -> tuple[Manifest, ...]:
    """The pods of an etcd as the cache has them."""
    labels = {LABEL_CLUSTER: names.cluster, LABEL_COMPONENT: etcd}
    return tuple(world.cache.list(kinds.POD, namespace=names.namespace, labels=labels))


def _address(pod: Manifest) -> str:
    return str((pod.get("status") or {}).get("podIP") or "")


async def _gone_nodes(world: World, pods: Iterable[Manifest]) -> dict[str, str]:
    """Node -> why it is confirmed to be gone, of the nodes these pods are bound to. One that cannot be read is not gone."""
    names = sorted({node_of(pod) for pod in pods if node_of(pod)})
    words = await asyncio.gather(*(_why_gone(world, name) for name in names))
    return {name: why for name, why in zip(names, words, strict=True) if why}


async def _why_gone(world: World, name: str) -> str:
    try:
        return why_gone(name, await world.meta.get(NODE.ref(name), deadline=READ_SECONDS))
    except KokError:
        return ""


async def _homeless(world: World, claims: Iterable[Manifest], pods: Iterable[Manifest]) -> dict[str, str]:
    """Claim -> why its data cannot be had any more, of those whose pod is not ready."""
    ready = {ordinal_of(name_of(pod)) for pod in pods if is_ready(pod)}
    asked = [claim for claim in claims if ordinal_of(name_of(claim)) not in ready and (claim.get("spec") or {}).get("volumeName")]
    words = await asyncio.gather(*(_why_homeless(world, str(claim["spec"]["volumeName"])) for claim in asked))
    return {name_of(claim): why for claim, why in zip(asked, words, strict=True) if why}


async def _why_homeless(world: World, volume: str) -> str:
    try:
        home = home_of(await world.meta.get(VOLUME.ref(volume), deadline=READ_SECONDS))
    except KokError:
        return ""
    return await _why_gone(world, home) if home else ""

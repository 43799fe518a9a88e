"""Does one step of the ladder: one `match`, each arm safe to repeat after a crash anywhere inside. Decides nothing; called by the controller.

What a write returns goes into the cache at once, so that the next pass does not decide on what was before it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from operators.api.base import LABEL_CLUSTER, LABEL_COMPONENT, LABEL_MANAGED_BY, MANAGED_BY, ObjectMeta
from operators.api.cluster_release import Authorisation, ClusterRelease, ClusterReleaseSpec
from operators.api.risk import Operation, Outcome
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.births import create_before_apply, takes_any_node_port, wants_node_port
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.etcd_act import EtcdActor
from operators.cluster_operator.cluster.grants import (
    Act,
    acquire,
    exchanges_pods,
    leave_to_delete_plane,
    leave_to_roll,
    purpose_of_change,
    settle_named,
)
from operators.cluster_operator.cluster.node_ports import NodePortLook
from operators.cluster_operator.cluster.release_act import write_release
from operators.cluster_operator.cluster.sealed import sealed_copy, sealed_ref, unsealed
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout.records import write_deletion
from operators.domain.plane import steps
from operators.domain.plane.certificates import LeafSpec, RootSpec
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.ladder import FINALIZER
from operators.domain.plane.release_steps import WriteRelease
from operators.domain.plane.view import PlaneView
from operators.engine.reconcile import Waits
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant
from operators.ports.kube import AlreadyExists, Invalid, KubePort, Manifest, NotFound, Preconditions, Ref
from operators.services.apply import apply_whole
from operators.services.pki import Issued, SecretData, issue_leaf, new_root

AT_ONCE = 8
"""Writes in parallel."""


class Actor:
    """Does steps."""

    def __init__(self, world: World, business: BusinessLook, node_ports: NodePortLook) -> None:
        self._world, self._business, self._node_ports, self._etcd = world, business, node_ports, EtcdActor(world)

    async def act(self, view: PlaneView, step: steps.Step) -> Waits | None:  # noqa: C901 - one arm per step is the point
        """Do it, or say what it waits for. Raises KokError; then the next pass sees what came of it."""
        match step:
            case steps.Paused() | steps.Stall() | steps.Wait() | steps.Done():
                return None
            case steps.Admit():
                await self._admit(view)
            case steps.Authorise(current=current):
                await self._authorise(view, current)
            case steps.NewRootKeys(specs=specs, replaces=replaces):
                await self._new_roots(view, specs, replaces)
            case steps.SealRootKeys(specs=specs):
                await self._seal(view, specs)
            case steps.RestoreRootKeys(specs=specs):
                await self._restore(view, specs)
            case steps.IssueLeaves(specs=leaves):
                await self._issue(view, leaves)
            case steps.ApplyObjects(objects=objects):
                return await self._apply_objects(view, objects, step.reason)
            case steps.RecordBootstrap(records=records):
                await self._each(self._create, records)
            case steps.RollMember(pod=pod):
                return await self._roll(view, pod, step.reason)
            case steps.SettleGrants(grants=names, outcome=outcome):
                await self._settle(view, names, outcome)
            case steps.ApplyInside(objects=objects):
                await self._apply_inside(view, objects)
            case steps.PruneInside(objects=objects):
                await self._prune_inside(view, objects)
            case steps.DeleteObjects(objects=objects):
                await self._each(self._delete, objects)
            case steps.EndPlane(objects=objects):
                return await self._end_plane(view, objects)
            case WriteRelease():
                return await write_release(self._world, view, step)
            case steps.Release():
                await self._release(view)
            case _:
                return await self._etcd.act(view, step)
        return None

    async def _each(self, write: Callable[[Manifest], Awaitable[None]], objects: Iterable[Manifest]) -> None:
        """All of them, some at a time; the first error is raised when those in flight have ended."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(manifest: Manifest) -> None:
            async with gate:
                await write(manifest)

        tasks = [asyncio.ensure_future(one(each)) for each in objects]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _admit(self, view: PlaneView) -> None:
        cluster = view.cluster
        name, namespace = cluster.metadata.name, cluster.metadata.namespace or ""
        if FINALIZER not in cluster.metadata.finalizers:
            await self._patch_finalizers(view, (*cluster.metadata.finalizers, FINALIZER))
        if view.namespace_label != name:
            labels = {"metadata": {"labels": {LABEL_CLUSTER: name}}}
            self._world.cache.put(await self._world.meta.patch_json(kinds.NAMESPACE.ref(namespace), labels))

    async def _patch_finalizers(self, view: PlaneView, finalizers: Sequence[str]) -> None:
        metadata = view.cluster.metadata
        patched = await self._world.meta.patch_json(
            kinds.CLUSTER.ref(metadata.name, metadata.namespace or ""),
            {"metadata": {"finalizers": list(finalizers)}},
            resource_version=metadata.resource_version,
        )
        if finalizers or not view.cluster.deleting:
            self._world.cache.put(patched)

    async def _authorise(self, view: PlaneView, current: Authorisation) -> None:
        metadata = view.cluster.metadata
        labels = _labels(metadata.name, "release")
        release = ClusterRelease(
            metadata=ObjectMeta(name=metadata.name, namespace=metadata.namespace), spec=ClusterReleaseSpec(current=current)
        ).model_dump(mode="json", by_alias=True, exclude_none=True, include={"api_version", "kind", "spec"})
        await self._create({**release, "metadata": {"name": metadata.name, "namespace": metadata.namespace, "labels": labels}})

    async def _create(self, manifest: Manifest) -> None:
        """A journal is created, never overwritten: whoever was first has said it."""
        try:
            self._world.cache.put(await self._world.meta.create(manifest))
        except AlreadyExists:
            found = await self._world.meta.get(Ref.of(manifest))
            if found:
                self._world.cache.put(found)

    async def _new_roots(self, view: PlaneView, specs: Sequence[RootSpec], replaces: str) -> None:
        """All keys in one write; the Secrets are filled from it by the next pass. AlreadyExists if another has made them meanwhile."""
        roots = await asyncio.to_thread(lambda: {spec.secret: new_root(spec, view.now).data for spec in specs})
        if replaces:
            await self._world.meta.delete(sealed_ref(self._world.own_namespace, view.cluster), preconditions=Preconditions(uid=replaces))
        self._world.cache.put(await self._world.meta.create(sealed_copy(self._world.own_namespace, view.cluster, roots)))

    async def _seal(self, view: PlaneView, specs: Sequence[RootSpec]) -> None:
        """From the Secrets as they are now; the damaged copy is replaced, since it is immutable."""
        ref = sealed_ref(self._world.own_namespace, view.cluster)
        roots = {spec.secret: await self._secret_data(view, spec.secret) for spec in specs}
        await self._world.meta.delete(ref)
        self._world.cache.put(await self._world.meta.create(sealed_copy(ref.namespace, view.cluster, roots)))

    async def _secret_data(self, view: PlaneView, name: str) -> SecretData:
        secret = await self._world.meta.get(kinds.SECRET.ref(name, view.cluster.metadata.namespace or ""))
        data: Mapping[str, str] = (secret or {}).get("data") or {}
        if not data:
            raise KokError(ErrorCode.KeysLost, f"Secret {view.cluster.metadata.namespace}/{name} was emptied while it was being sealed")
        return data

    async def _restore(self, view: PlaneView, specs: Sequence[RootSpec]) -> None:
        ref = sealed_ref(self._world.own_namespace, view.cluster)
        copy = await self._world.meta.get(ref)
        for spec in specs:
            data = unsealed(copy or {}, view.cluster, spec.secret)
            if data is None:
                raise KokError(ErrorCode.KeysLost, f"{ref} holds nothing of {spec.secret}")
            kind = "kubernetes.io/tls" if {"tls.crt", "tls.key"} <= set(data) else "Opaque"
            await self._write_secret(view, spec.secret, spec.component, Issued(kind, data))

    async def _issue(self, view: PlaneView, leaves: Sequence[LeafSpec]) -> None:
        """Keys and certificates are made off the loop, all at once, then written some at a time."""
        signers = {leaf.signer for leaf in leaves}
        roots = {name: view.objects[_secret_id(view, name)].get("data") or {} for name in signers}
        issued = await asyncio.to_thread(lambda: [issue_leaf(leaf, roots[leaf.signer], view.now) for leaf in leaves])
        await asyncio.gather(
            *(self._write_secret(view, leaf.secret, leaf.component, made) for leaf, made in zip(leaves, issued, strict=True))
        )

    async def _write_secret(self, view: PlaneView, name: str, component: str, issued: Issued) -> None:
        metadata = view.cluster.metadata
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": issued.type,
            "metadata": {"name": name, "namespace": metadata.namespace, "labels": _labels(metadata.name, component)},
            "data": dict(issued.data),
        }
        try:
            written = await self._world.meta.apply(manifest)
        except Invalid:  # its type cannot be changed, or somebody made it immutable: it has to be a new one
            await self._world.meta.delete(Ref.of(manifest))
            written = await self._world.meta.apply(manifest)
        self._world.cache.put(written)

    async def _apply_objects(self, view: PlaneView, objects: Sequence[Manifest], reason: str) -> Waits | None:
        leaves = await leave_to_roll(self._world, view, objects, reason)
        if isinstance(leaves, Waits):
            return leaves
        for wave in _waves(objects):
            await self._each(lambda manifest: self._apply_child(view, manifest, leaves.get(Ref.of(manifest))), wave)
        return None

    async def _apply_child(self, view: PlaneView, manifest: Manifest, grant: Grant | None) -> None:
        """With leave where its pods are exchanged. One that came to serve, or to differ, since leave was thought of waits for the next pass."""
        live = self._world.cache.get(Ref.of(manifest))
        if grant is not None:
            self._world.cache.put(await self._world.danger.roll(manifest, view.cluster.metadata.name, grant))
            return
        if live is not None and exchanges_pods(view, manifest, live):
            raise KokError(ErrorCode.GrantInvalid, f"{Ref.of(manifest)} is rolled only with leave", "nothing was done; the next pass asks")
        try:
            await self._apply_meta(manifest)
        except Invalid as error:
            if refusal := await self._node_ports.refusal(view.cluster, manifest, error):
                raise refusal from error
            raise

    async def _apply_meta(self, manifest: Manifest) -> None:
        """What was applied must be seen afterwards, or the next pass would apply it again, for ever."""
        if wants_node_port(manifest) and self._world.cache.get(Ref.of(manifest)) is None:
            await create_before_apply(self._world.meta, manifest)
        self._world.cache.put(await apply_whole(self._world.meta, manifest))
        if self._world.cache.get(Ref.of(manifest)) is None:
            raise KokError(
                ErrorCode.Internal, f"{Ref.of(manifest)} was applied, but its labels lead to no Cluster", "this is a bug; report it"
            )

    async def _apply_inside(self, view: PlaneView, objects: Sequence[Manifest]) -> None:
        """Kind by kind in the plan's order: what comes later may need what came before (a namespace, a CRD)."""
        metadata = view.cluster.metadata
        port = self._business.port(kinds.key_of(metadata.namespace or "", metadata.name), view.names)
        for batch in _runs_of_a_kind(objects):
            await self._each(lambda manifest: _applied(port, manifest), batch)

    async def _prune_inside(self, view: PlaneView, objects: Sequence[Manifest]) -> None:
        """In order, and only what was looked at: who wrote it since has made it theirs."""
        metadata = view.cluster.metadata
        port = self._business.port(kinds.key_of(metadata.namespace or "", metadata.name), view.names)
        for each in objects:
            seen = Preconditions(uid=each["metadata"]["uid"], resource_version=each["metadata"]["resourceVersion"])
            await port.delete(Ref.of(each), preconditions=seen)

    async def _roll(self, view: PlaneView, pod: str, reason: str) -> Waits | None:
        """The very pod that was seen outdated, not its successor; with leave."""
        ref = kinds.POD.ref(pod, view.cluster.metadata.namespace or "")
        seen = self._world.cache.get(ref)
        if seen is None:
            return None
        uid = str(seen["metadata"]["uid"])
        act = Act(Operation.RestartMaster, "Pod", pod, uid, "roll", "member", reason, purpose_of_change(view))
        grant = await acquire(self._world, view.cluster, act)
        if isinstance(grant, Waits):
            return grant
        await self._world.danger.end_pod(ref, uid, view.cluster.metadata.name, grant)
        return None

    async def _end_plane(self, view: PlaneView, objects: Sequence[Manifest]) -> Waits | None:
        grant = await leave_to_delete_plane(self._world, view)
        if isinstance(grant, Waits):
            return grant
        await self._each(lambda manifest: self._world.danger.end_part(manifest, view.cluster.metadata.name, grant), objects)
        return None

    async def _delete(self, manifest: Manifest) -> None:
        if manifest["kind"] == kinds.VOLUME_CLAIM.kind:
            words = f"{Ref.of(manifest)} holds data: it goes only with leave for the end of its plane"
            raise KokError(ErrorCode.GrantInvalid, words, "nothing was done; this is a bug")
        await self._world.meta.delete(Ref.of(manifest), preconditions=Preconditions(uid=manifest["metadata"]["uid"]))

    async def _settle(self, view: PlaneView, names: tuple[str, ...], outcome: Outcome) -> None:
        """The end of a plane is written down while its leave can be told."""
        await settle_named(self._world, view.cluster.metadata.namespace or "", names, outcome)
        if any(grant.name in names and grant.operation is Operation.DeletePlane for grant in view.grants):
            await write_deletion(self._world, view)

    async def _release(self, view: PlaneView) -> None:
        """Written down first. The namespace is the user's: only our label goes. The finalizer last: after it nobody comes back."""
        metadata = view.cluster.metadata
        if not view.older:
            await write_deletion(self._world, view)
        if view.namespace_label == metadata.name:
            gone = {"metadata": {"labels": {LABEL_CLUSTER: None}}}
            with contextlib.suppress(NotFound):
                await self._world.meta.patch_json(kinds.NAMESPACE.ref(metadata.namespace or ""), gone)
        with contextlib.suppress(NotFound):  # gone since it was seen, by the pass before this one
            await self._patch_finalizers(view, [each for each in metadata.finalizers if each != FINALIZER])


async def _applied(port: KubePort, manifest: Manifest) -> None:
    await apply_whole(port, manifest)


def _waves(objects: Sequence[Manifest]) -> Iterable[list[Manifest]]:
    """First what may be refused, a certain node port, so that no pod runs for a plane that has none. Last bindings, which the API server
    refuses while their role is not there, and Services that take any node port."""

    def wave_of(manifest: Manifest) -> int:
        if wants_node_port(manifest):
            return 0
        return 2 if manifest["kind"].endswith("RoleBinding") or takes_any_node_port(manifest) else 1

    return [[each for each in objects if wave_of(each) == wave] for wave in range(3)]


def _runs_of_a_kind(objects: Sequence[Manifest]) -> list[list[Manifest]]:
    runs: list[list[Manifest]] = []
    for manifest in objects:
        if runs and runs[-1][0]["kind"] == manifest["kind"]:
            runs[-1].append(manifest)
        else:
            runs.append([manifest])
    return runs


def _labels(cluster: str, component: str) -> dict[str, str]:
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_CLUSTER: cluster, LABEL_COMPONENT: component}


def _secret_id(view: PlaneView, name: str) -> ObjectId:
    return ObjectId("v1", "Secret", view.cluster.metadata.namespace or "", name)

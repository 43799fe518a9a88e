"""NodeDanger over a business API server: cordon, evict, delete; every verb re-reads its Grant right before it acts.

Decides nothing about when; a grant of another operation, for another machine, expired or settled ends the verb before anything is written.
The audit log of the business cluster shows each of these calls by the Machine-Operator's own identity, and of an eviction the grant.
Built by machine_operator.main.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from operators.api.base import API_VERSION
from operators.api.risk import Operation
from operators.domain.machine.drain import TO_MIGRATE, PodFacts, movable_pods, with_a_place
from operators.domain.machine.node import cordon_patch, node_of
from operators.errors import ErrorCode, KokError
from operators.ports.danger import DrainProgress
from operators.ports.grants import Grant, GrantsPort
from operators.ports.kube import Kind, KubePort, Manifest, NotFound, Preconditions, Ref, Subresource, TooManyRequests

NODE = Kind("v1", "Node")
POD = Kind("v1", "Pod")
MACHINE = Kind(API_VERSION, "Machine")
GRANT = "kok.dev/grant"
"""Annotation of an Eviction: the name of the OperationGrant that allowed it. Stored nowhere but in the audit log."""
EMPTYING = frozenset({Operation.Drain, Operation.ApplyPackage})
"""Operations whose grant allows to cordon and to evict."""
CORDONING = EMPTYING | {Operation.Cordon}


class KubeDanger:
    """NodeDanger. `kube` is the business cluster; grants are verified in the meta cluster."""

    def __init__(self, kube: KubePort, grants: GrantsPort) -> None:
        self._kube, self._grants = kube, grants

    async def cordon(self, node: str, grant: Grant, *, owner: str) -> None:
        """See NodeDanger."""
        found = await self._kube.get(NODE.ref(node))
        if found is None:
            return
        patch = cordon_patch(node_of(found), owner)
        await self._verify(grant, CORDONING, node)
        if patch:
            await self._kube.patch_json(NODE.ref(node), patch, resource_version=found["metadata"]["resourceVersion"])

    async def evict_pods(self, node: str, grant: Grant) -> DrainProgress:
        """See NodeDanger."""
        await self._verify(grant, EMPTYING, node)
        found = await self._kube.get(NODE.ref(node))
        if found is not None and not node_of(found).unschedulable:
            raise KokError(ErrorCode.Conflict, f"{node} is not cordoned any more: nothing was evicted")
        here = [pod for pod in await self.pods_to_move(node) if not pod.is_leaving]
        blocked = [f"{pod}: {words}" for pod in here if (words := await self._evict(pod, grant))]
        remaining = await self.pods_to_move(node)
        return DrainProgress(tuple(str(pod) for pod in remaining), tuple(blocked))

    async def _evict(self, pod: PodFacts, grant: Grant) -> str:
        """Ask once; returns the sentence of a disruption budget that refused. The uid keeps a namesake that was made meanwhile."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "annotations": {GRANT: grant.op_id}},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        try:
            await self._kube.create_subresource(POD.ref(pod.name, pod.namespace), Subresource.Eviction, body)
        except NotFound:
            return ""
        except TooManyRequests as error:
            return error.message
        return ""

    async def delete_node(self, node: str, grant: Grant) -> None:
        """See NodeDanger."""
        await self._delete(NODE.ref(node), grant, node)

    async def delete_machine(self, machine: str, grant: Grant) -> None:
        """See NodeDanger."""
        await self._delete(MACHINE.ref(machine), grant, machine)

    async def _delete(self, ref: Ref, grant: Grant, target: str) -> None:
        """The uid that was read before the grant was verified is what is deleted: a namesake made meanwhile stays."""
        found = await self._kube.get(ref)
        if found is None:
            return
        await self._verify(grant, frozenset({Operation.DeleteMachine}), target)
        await self._kube.delete(ref, preconditions=Preconditions(uid=found["metadata"]["uid"]))

    async def _verify(self, grant: Grant, allowed: frozenset[Operation], target: str) -> None:
        if grant.operation not in allowed:
            names = " or ".join(sorted(operation.value for operation in allowed))
            words = f"grant {grant.op_id} is for {grant.operation.value}, this needs {names}"
            raise KokError(ErrorCode.GrantInvalid, words, "nothing was done")
        await self._grants.verify(grant, operation=grant.operation, target=target)

    async def pods_to_move(self, node: str) -> tuple[PodFacts, ...]:
        """See NodeDanger."""
        items: list[Manifest] = []
        path, following = f"/api/v1/pods?fieldSelector={quote(f'spec.nodeName={node}', safe='')}&limit=500", ""
        while True:
            page: Mapping[str, Any] = json.loads(await self._kube.read_path(path + following))
            items += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return await self._with_a_place(movable_pods(items, node), node)
            following = f"&continue={quote(token, safe='')}"

    async def _with_a_place(self, pods: tuple[PodFacts, ...], node: str) -> tuple[PodFacts, ...]:
        """Other nodes are counted only where that matters."""
        if not any(pod.is_own for pod in pods):
            return pods
        names = {each["metadata"]["name"] for each in (await self._kube.list(NODE)).items}
        return with_a_place(pods, len(names - {node}))

    async def mark_pods(self, pods: tuple[PodFacts, ...]) -> None:
        """See NodeDanger."""
        await self._label([pod for pod in pods if not pod.is_marked], "true")

    async def unmark_pods(self, pods: tuple[PodFacts, ...]) -> None:
        """See NodeDanger."""
        await self._label([pod for pod in pods if pod.is_marked], None)

    async def _label(self, pods: Iterable[PodFacts], value: str | None) -> None:
        for pod in pods:
            with contextlib.suppress(NotFound):
                await self._kube.patch_json(POD.ref(pod.name, pod.namespace), {"metadata": {"labels": {TO_MIGRATE: value}}})

"""Asks who has a node port that our Service was refused, and whether they have it still. Reads Services, writes nothing; called by act and observe.

What is remembered saves attempts: as long as the holder is seen to have the port, no write is tried that would be refused again. A process
that remembers nothing tries once, is refused, and says the same.
"""

from __future__ import annotations

from dataclasses import replace

from operators.api.cluster import Cluster
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.world import Remembered, World
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.node_ports import first_holder, is_wished, node_ports_of, refused_ports, words
from operators.domain.plane.view import TakenPort
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Invalid, KubeError, Manifest

READ_SECONDS = 5.0
LIST_SECONDS = 20.0
UNSEEN_SECONDS = 30.0
"""How long a refusal counts whose holder nobody sees: meanwhile the rest of the plane is kept well, then the port is tried again."""


class NodePortLook:
    """Who has the node ports that Clusters were refused."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._taken: Remembered[TakenPort] = Remembered(5_000)
        self._unseen: Remembered[TakenPort] = Remembered(5_000, UNSEEN_SECONDS)

    async def refusal(self, cluster: Cluster, service: Manifest, error: Invalid) -> KokError | None:
        """What to say of a Service that was refused: PortTaken with its holder; None if it was for something else."""
        wanted = refused_ports(cluster, service, error.message)
        if not wanted:
            return None
        uid = cluster.metadata.uid
        try:
            services = (await self._world.meta.list(kinds.SERVICE, deadline=LIST_SECONDS)).items
        except KubeError as unread:
            unseen = replace(wanted[0], unseen=f"Services cannot be listed ({unread.message})")
            return KokError(ErrorCode.PortTaken, words(self._unseen.put(uid, unseen)))
        taken = first_holder(wanted, services, ObjectId.of(service))
        if taken is None:
            return KokError(ErrorCode.PortTaken, words(self._unseen.put(uid, wanted[0])))
        return KokError(ErrorCode.PortTaken, words(self._taken.put(uid, taken)))

    async def taken(self, cluster: Cluster) -> TakenPort | None:
        """The port that was refused, as long as its holder has it and we wish it; None lets it be tried again."""
        uid = cluster.metadata.uid
        known = self._taken.get(uid)
        if known is None:
            unseen = self._unseen.get(uid)
            return unseen if unseen and is_wished(cluster, unseen) else None
        if is_wished(cluster, known) and await self._is_held(known):
            return known
        self._taken.drop(uid)
        return None

    async def _is_held(self, taken: TakenPort) -> bool:
        """Who cannot be read may have it still: the next attempt would tell, and this pass tries none."""
        try:
            service = await self._world.meta.get(kinds.SERVICE.ref(taken.name, taken.namespace), deadline=READ_SECONDS)
        except KubeError:
            return True
        return service is not None and taken.port in node_ports_of(service)

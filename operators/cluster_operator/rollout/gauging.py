"""Reads the vital signs of a business cluster from its own API server: its metrics, its nodes, and pods without one. Reads only; called by probing.

Works before anybody's Prometheus exists. Whatever goes wrong is part of the reading, in words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.inputs import Names
from operators.domain.rollout.verdict import Counts
from operators.domain.rollout.vitals import Vitals, stuck_of, vitals_of
from operators.errors import KokError
from operators.ports.kube import Forbidden, Key, Kind, KubePort, Manifest, NotFound

NODE = Kind("v1", "Node")
HOMELESS = "/api/v1/pods?fieldSelector=spec.nodeName%3D&limit=200"
"""Pods without a node; of many the first, which is enough to see that something is wrong."""
DEADLINE = 5.0
Gauge = Callable[[Key], Awaitable[Vitals]]
"""Reads one Cluster. Never raises KokError."""


def plane_gauge(world: World) -> Gauge:
    """By the operator's own way into business clusters."""
    business = BusinessLook(world)

    async def read(key: Key) -> Vitals:
        try:
            port = business.port(kinds.key_of(key.namespace, key.name), Names(key.name, key.namespace))
            return await vitals_from(port, world)
        except (Forbidden, NotFound) as error:
            return Vitals(world.now(), problem=error.message, is_denied=True)
        except KokError as error:
            return Vitals(world.now(), problem=error.message)

    return read


async def vitals_from(port: KubePort, world: World) -> Vitals:
    """Raises KokError."""
    text, pods, nodes = await asyncio.gather(
        port.read_path("/metrics", deadline=DEADLINE), port.read_path(HOMELESS, deadline=DEADLINE), port.list(NODE, deadline=DEADLINE)
    )
    ready, now = sum(_is_ready(node) for node in nodes.items), world.now()
    stuck = stuck_of(json.loads(pods).get("items") or (), now)
    return await asyncio.to_thread(vitals_of, text, Counts(ready, len(nodes.items)), now, stuck=stuck)


def _is_ready(node: Manifest) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

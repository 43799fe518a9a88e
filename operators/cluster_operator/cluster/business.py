"""Looks into a business cluster: does its API answer, and is what kok put there still right. Reads only; called by observe.

An API server is asked at every pass; its objects once a minute (in a large fleet more seldom), by one list per kind, and at once after a change of
the plan.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence

from operators.api.base import LABEL_MANAGED_BY, MANAGED_BY
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.world import Reach, Remembered, World
from operators.domain.plane.drift import ObjectId, difference
from operators.domain.plane.inputs import Names
from operators.domain.plane.served import Stored
from operators.domain.plane.steps import pace_of
from operators.domain.plane.surplus import candidates, was_applied_by_us
from operators.domain.plane.tunnel import AGENTS
from operators.domain.plane.view import BusinessApi, Plan, Unknown
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Key, Kind, KubePort, Manifest, NotFound, Ref

READY_SECONDS = 3.0
LIST_SECONDS = 10.0
MOST_NAMED = 50
"""Objects of a resource that are read to name some of them; of the rest only the number is."""
LOOK_EVERY = 50.0
"""Below the polling interval, so that every poll looks."""


class BusinessLook:
    """Asks business clusters."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._looked: Remembered[BusinessApi] = Remembered(5_000, LOOK_EVERY)

    def port(self, key: Key, names: Names) -> KubePort:
        """The port to a business cluster, by the kubeconfig that fits where we run. Raises KokError if there is none (yet)."""
        wanted = "operator-kubeconfig" if self._world.reach is Reach.internal else "kubeconfig"
        secret = self._world.cache.get(Kind("v1", "Secret").ref(names[wanted], key.namespace))
        text = ((secret or {}).get("data") or {}).get("kubeconfig", "")
        try:
            kubeconfig = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            kubeconfig = ""
        if not kubeconfig:
            raise KokError(ErrorCode.SecretMissing, f"Secret {key.namespace}/{names[wanted]} holds no kubeconfig")
        return self._world.business.connect(f"{key.namespace}/{key.name}", kubeconfig)

    async def look(self, key: Key, names: Names, plan: Plan, digest: str) -> BusinessApi | Unknown:
        """What its API says; Unknown in words if it does not answer."""
        try:
            port = self.port(key, names)
            await port.read_path("/readyz", deadline=READY_SECONDS)
            if known := self._looked.get((key, digest), pace=pace_of(self._world.cache.count(kinds.CLUSTER))):
                return known
            version = json.loads(await port.read_path("/version", deadline=READY_SECONDS))["gitVersion"].removeprefix("v")
            found = await _compare(port, plan, version, key.name)
        except KokError as error:
            return Unknown(f"the API server does not answer: {error.message}")
        return self._looked.put((key, digest), found) if _is_settled(found, plan) else found

    async def stored_of(self, key: Key, names: Names, group_version: str, resource: str, *, deadline: float) -> Stored:
        """What is stored of a resource, by its plural; nothing of one that this API server does not serve. Raises KokError."""
        root = "/apis/" if "/" in group_version else "/api/"
        try:
            found = json.loads(
                await self.port(key, names).read_path(f"{root}{group_version}/{resource}?limit={MOST_NAMED}", deadline=deadline)
            )
        except NotFound:
            return Stored(())
        left = int((found.get("metadata") or {}).get("remainingItemCount") or 0)
        return Stored(tuple(str(each["metadata"]["name"]) for each in found["items"]), left)

    async def forget(self, key: Key) -> None:
        """The Cluster is gone: close the session to it."""
        await self._world.business.forget(f"{key.namespace}/{key.name}")


async def _compare(port: KubePort, plan: Plan, version: str, cluster: str) -> BusinessApi:
    live = await _live_objects(port, plan)
    wrong = []
    for wanted in plan.inside:
        name = ObjectId.of(wanted)
        path = difference(wanted, live[name]) if name in live else "missing"
        if path:
            wrong.append((name, path))
    words = ""
    if wrong:
        words = f"{wrong[0][0]} is missing" if wrong[0][1] == "missing" else f"{wrong[0][0]} differs at {wrong[0][1]}"
    left = await _applied_by_us(port, candidates(live.values(), plan.inside, cluster)) if plan.inside else ()
    return BusinessApi(version, tuple(name for name, _ in wrong), words, left, _connected(live.get(AGENTS) or {}))


async def _applied_by_us(port: KubePort, found: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """Those that the API server says kok applied, as they are now; lists come without who wrote what."""
    whole = await asyncio.gather(*(port.get(Ref.of(each), deadline=LIST_SECONDS) for each in found))
    return tuple(each for each in whole if each and was_applied_by_us(each))


def _is_settled(found: BusinessApi, plan: Plan) -> bool:
    """Whether a minute may pass before it is looked at again: everything is in place, and the agents of the nodes are connected."""
    connected, nodes = found.agents
    return not found.missing and not found.surplus and (0 < nodes == connected or all(ObjectId.of(each) != AGENTS for each in plan.inside))


def _connected(agents: Manifest) -> tuple[int, int]:
    """Agents that are ready, which means connected, and nodes that should have one."""
    status = agents.get("status") or {}
    return int(status.get("numberReady") or 0), int(status.get("desiredNumberScheduled") or 0)


async def _live_objects(port: KubePort, plan: Plan) -> dict[ObjectId, Manifest]:
    kinds = {Kind(each["apiVersion"], each["kind"]) for each in plan.inside} | {Kind(version, kind) for version, kind in plan.beside}
    lists = await asyncio.gather(*(_listed(port, kind) for kind in sorted(kinds)))
    return {ObjectId.of(each): each for items in lists for each in items}


async def _listed(port: KubePort, kind: Kind) -> Sequence[Manifest]:
    try:
        return (await port.list(kind, selector=f"{LABEL_MANAGED_BY}={MANAGED_BY}", deadline=LIST_SECONDS)).items
    except NotFound:  # a kind that our own CRDs bring is not served yet
        return ()

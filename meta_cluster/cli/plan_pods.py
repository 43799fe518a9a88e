"""Which pods a plan would lose: those that its drains take away and that nothing makes anew. Reads business clusters; used by `kok plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meta_cluster.cli.access import Meta
from meta_cluster.cli.picture import MACHINE, POD, POOL, ask_business
from meta_cluster.cli.plan_view import LostPods, empties_machines
from meta_cluster.cli.rollout_view import is_of_machines
from operators.domain.machine.drain import movable_pods
from operators.ports.kube import KubePort, Manifest

CLUSTERS_ASKED = 20
"""Of a large fleet the first in order stand for the rest."""


async def lost_pods(meta: Meta, rollout: Manifest) -> list[LostPods]:
    """For each of the first clusters whose machines are emptied: its pods without a controller, or why it could not be asked."""
    members = [each for each in (rollout.get("status") or {}).get("members") or () if each.get("stage") and empties_machines(each)]
    homes = await _homes(meta) if is_of_machines(rollout) else {}
    found = []
    for member in members[:CLUSTERS_ASKED]:
        key = str(member["cluster"])
        namespace, name = homes.get(key, key).split("/")
        pools = (key.partition("/")[2],) if homes else ()

        async def ask(kube: KubePort, words: str = str(member["message"]), pools: tuple[str, ...] = pools) -> tuple[str, ...]:
            machines, pods = (await kube.list(MACHINE)).items, (await kube.list(POD)).items
            return bare_pods(pods, machines_of(machines, words, pools))

        answer = await ask_business(meta, namespace, name, ask)
        each = LostPods(f"{namespace}/{name}", problem=answer) if isinstance(answer, str) else LostPods(f"{namespace}/{name}", answer)
        found += [each] if each.pods or each.problem else []
    return found


async def _homes(meta: Meta) -> dict[str, str]:
    pools = (await meta.kube.list(POOL)).items
    return {
        f"{p['metadata']['namespace']}/{p['metadata']['name']}": f"{p['metadata']['namespace']}/{p['spec']['clusterName']}" for p in pools
    }


def machines_of(machines: Iterable[Manifest], words: str, pools: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the machines of these pools; without any, of those that the member's sentence names (`pool workers, 2 machines: ...`)."""
    return tuple(
        str(each["metadata"]["name"])
        for each in machines
        if each["spec"]["pool"] in pools or (not pools and f"pool {each['spec']['pool']}," in words)
    )


def bare_pods(pods: Iterable[Mapping[str, Any]], nodes: Iterable[str]) -> tuple[str, ...]:
    """namespace/name of the pods that a drain of these nodes moves and no controller makes anew."""
    bare = [each for each in pods if not any(owner.get("controller") for owner in each["metadata"].get("ownerReferences") or ())]
    return tuple(str(pod) for node in nodes for pod in movable_pods(bare, node))

"""The tree of a Cluster or a MachinePool: release, plane, machines; what is not fine stands out. Pure functions of a picture and `now`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from meta_cluster.cli.conditions import ConditionView, conditions_in, is_ready, is_wrong, wrong_stages
from meta_cluster.cli.console import Paint
from meta_cluster.cli.pending_tree import pending_nodes
from meta_cluster.cli.picture import ClusterPicture
from meta_cluster.cli.times import age_of
from meta_cluster.cli.tree import MARK, Node
from meta_cluster.pods import pod_trouble, says_the_same
from operators.api.base import LABEL_COMPONENT
from operators.ports.kube import Manifest

OF_COMPONENTS = frozenset({"EtcdReady", "ApiserverReady", "ControllersReady", "MachineOperatorReady"})
"""Stages that the lines of components show already."""
COMPONENTS_WITH_QUORUM = ("etcd", "etcd-events")
STAGE_LABELS = {"KeysReady": "keys", "InsideReady": "inside", "ReleaseMatchesWish": "release"}


def cluster_tree(picture: ClusterPicture, now: datetime) -> Node:
    """The whole tree, not folded."""
    cluster = picture.cluster
    children = (_release(picture, now), _plane(picture), _machines(picture, now), *pending_nodes(cluster))
    return Node(f"Cluster {picture.place}", headline(cluster, now), not is_ready(cluster), children)


def headline(manifest: Manifest, now: datetime) -> str:
    """Ready=..., the phase, for how long, and what is wished."""
    conditions, status = conditions_in(manifest), manifest.get("status") or {}
    ready = conditions.get("Ready")
    words = [f"Ready={ready['status'] if ready else 'Unknown'}"]
    if status.get("phase") and status["phase"] != "Ready":
        words.append(str(status["phase"]))
    if ready:
        words.append(age_of(ready.get("lastTransitionTime"), now))
    if manifest["metadata"].get("deletionTimestamp"):
        words.append(f"deletion asked for {age_of(manifest['metadata']['deletionTimestamp'], now)} ago")
    if wish := manifest["spec"].get("packageVersion"):
        words.append(f"wish {wish}")
    return "  ".join(word for word in words if word)


def _release(picture: ClusterPicture, now: datetime) -> Node:
    matches = conditions_in(picture.cluster).get("ReleaseMatchesWish")
    wrong = matches is not None and is_wrong(matches)
    if picture.release is None:
        return Node("Release", "nothing is authorised yet", wrong=True)
    current = picture.release["spec"]["current"]
    by = str(current["by"]) if current["by"] == "Spec" else f"{current['by'].lower()} {current.get('name', '')}".strip()
    text = f"{_change_of(picture.release['spec'])}, authorised by {by} {age_of(current.get('at'), now)} ago{_stage_of(picture.release['spec'], now)}"
    child = (Node(MARK, str(matches["message"]), wrong=True),) if wrong and matches else ()
    return Node("Release", text, wrong, child)


def _change_of(release: Manifest) -> str:
    """`from -> to` while the plane is on its way, else where it is."""
    hop, target = release.get("hop"), str(release["current"]["packageVersion"])
    if hop:
        ends = (hop["lower"], hop["upper"]) if hop["direction"] == "Up" else (hop["upper"], hop["lower"])
        return f"{ends[0]} -> {ends[1]}{'' if ends[1] == target else f' on the way to {target}'}"
    reached = release.get("reached") or target
    return target if reached == target else f"{reached} -> {target}"


def _stage_of(release: Manifest, now: datetime) -> str:
    hop = release.get("hop")
    return f", stage {hop['stage']} for {age_of(hop.get('stageSince'), now)}" if hop else ""


def _plane(picture: ClusterPicture) -> Node:
    components = (picture.cluster.get("status") or {}).get("components") or ()
    nodes = [_component(picture, component) for component in components]
    stages = [c for c in wrong_stages(picture.cluster) if c["type"] not in OF_COMPONENTS and c["type"] != "ReleaseMatchesWish"]
    told = [str(component.get("message") or "") for component in components]
    extra = _not_told(stages, told)
    fine = sum(not node.needs_eye for node in nodes)
    text = f"{fine} of {len(nodes)} components match" if nodes else "no component yet"
    version = (picture.cluster.get("status") or {}).get("kubernetesVersion")
    return Node("Plane", f"{text}{f'   {version}' if version else ''}", not nodes, (*nodes, *extra))


def _not_told(stages: Iterable[ConditionView], told: Iterable[str]) -> list[Node]:
    """A line for each stage, without those whose sentence stands in a line above."""
    said, nodes = list(told), []
    for stage in stages:
        message = str(stage.get("message") or "")
        if not message or not any(message in before for before in said):
            nodes.append(Node(STAGE_LABELS.get(str(stage["type"]), str(stage["type"])), message or str(stage["reason"]), wrong=True))
        said.append(message)
    return nodes


def _component(picture: ClusterPicture, component: Manifest) -> Node:
    ready, wanted = int(component.get("ready") or 0), int(component.get("wanted") or 0)
    wrong = ready < wanted or bool(component.get("message"))
    said = str(component.get("message") or "")
    text = f"{ready}/{wanted}   {said}".rstrip()
    crowd = _crowded(picture, component["name"])
    return Node(component["name"], text, wrong or bool(crowd), (*(_troubles(picture, component) if wrong else ()), *crowd))


def _crowded(picture: ClusterPicture, component: str) -> tuple[Node, ...]:
    """Members of an etcd that could not be spared together and share a meta node although the plane's pods have several: nothing moves them by itself."""
    nodes = {str((pod.get("spec") or {}).get("nodeName") or "") for pod in picture.pods} - {""}
    members: dict[str, list[str]] = {}
    for pod in sorted(pods_of(picture, component), key=lambda pod: str(pod["metadata"]["name"])):
        members.setdefault(str((pod.get("spec") or {}).get("nodeName") or ""), []).append(str(pod["metadata"]["name"]))
    count = sum(map(len, members.values()))
    spare = (count - 1) // 2
    shared = next((node for node, names in members.items() if node and len(names) > max(spare, 1)), "")
    if component not in COMPONENTS_WITH_QUORUM or len(nodes) < 2 or not shared:
        return ()
    words = f"{', '.join(members[shared])} share meta node {shared}: its loss would cost the quorum, for of {count} members {spare} can be spared"
    return (Node(MARK, words, wrong=True),)


def _troubles(picture: ClusterPicture, component: Manifest) -> Iterable[Node]:
    """What the component's own message leaves out: a pod that it does not name, and the last event."""
    said = str(component.get("message"))
    for pod in pods_of(picture, component["name"]):
        trouble = pod_trouble(pod, picture.events)
        if trouble is None:
            continue
        if trouble.pod not in said:
            yield Node(MARK, trouble.sentence, wrong=True)
        if trouble.event and not says_the_same(trouble.event, f"{said} {trouble.sentence}"):
            yield Node(MARK, trouble.event, wrong=True)


def pods_of(picture: ClusterPicture, component: str) -> list[Manifest]:
    """The component's pods."""
    return [pod for pod in picture.pods if (pod["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == component]


def _machines(picture: ClusterPicture, now: datetime) -> Node:
    if picture.business.problem:
        hosts = sum(len(pool["spec"].get("hosts") or ()) for pool in picture.pools)
        return Node("Machines", f"{hosts} hosts wished; not looked at: {picture.business.problem}", wrong=bool(hosts))
    machines = picture.business.machines
    pools = [_pool_line(pool) for pool in picture.pools if any(map(is_wrong, conditions_in(pool).values()))]
    nodes = [machine_line(machine, now) for machine in sorted(machines, key=lambda m: m["metadata"]["name"])]
    opened = sum(is_ready(machine) for machine in machines)
    closed = len(machines) - opened
    text = f"{opened}/{len(machines)} open{f'   {closed} not' if closed else ''}" if machines or picture.pools else "none wished"
    return Node("Machines", text, False, (*pools, *nodes))


def _pool_line(pool: Manifest) -> Node:
    wrong = [c for c in conditions_in(pool).values() if is_wrong(c)]
    message = (pool.get("status") or {}).get("message") or next((c.get("message") for c in wrong if c.get("message")), "")
    return Node(f"pool {pool['metadata']['name']}", str(message or wrong[0]["reason"]), wrong=True)


def machine_line(machine: Manifest, now: datetime) -> Node:
    """One machine: `open`, or its phase, for how long, and the sentence."""
    status, ready = machine.get("status") or {}, conditions_in(machine).get("Ready")
    if is_ready(machine):
        return Node(machine["metadata"]["name"], "open")
    since = f" {age_of(ready.get('lastTransitionTime'), now)}" if ready else ""
    text = f"{status.get('phase') or 'not looked at yet'}{since}   {status.get('message') or ''}".rstrip()
    paint = Paint.Waiting if conditions_in(machine).get("Stalled", {}).get("status") != "True" else None
    return Node(machine["metadata"]["name"], text, wrong=True, paint=paint)

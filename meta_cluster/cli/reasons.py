"""Why something is not as wished: from the object's condition down to the pod's event, the SSH error or the package's difference. Pure; used by `kok why`.

A chain never says the same twice: a sentence that is already part of an earlier one is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from meta_cluster.cli.cluster_tree import pods_of
from meta_cluster.cli.conditions import ConditionView, conditions_in, is_ready, wrong_stages
from meta_cluster.cli.errors_reference import REFERENCE
from meta_cluster.cli.lines import hanging
from meta_cluster.cli.pending_tree import pending_words
from meta_cluster.cli.picture import Business, ClusterPicture
from meta_cluster.cli.times import age_of
from meta_cluster.cli.words_reference import REASONS
from meta_cluster.pods import last_warning, pod_trouble, says_the_same
from operators.errors import ErrorCode
from operators.ports.kube import Manifest

GOES_ON = "nothing: it goes on by itself; ask again in a minute"
COMPONENTS_OF = {
    "EtcdReady": ("etcd", "etcd-events"),
    "ApiserverReady": ("apiserver",),
    "ControllersReady": ("controller-manager", "scheduler"),
    "MachineOperatorReady": ("machine-operator",),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """What is so, each reason because of the next, and what to do. `well`: nothing is wrong."""

    head: str
    because: tuple[str, ...] = ()
    last_event: str = ""
    next: str = ""
    well: bool = False

    def text(self, width: int = 0) -> str:
        """As it is printed, in lines of at most `width` columns where words allow it (0: as long as they are)."""
        parts = [("", self.head), *(("  because ", reason) for reason in self.because)]
        parts += [("  last event: ", self.last_event)] if self.last_event else []
        parts += [("Next: ", self.next)] if self.next else []
        return "\n".join(hanging(label, words, width) for label, words in parts)


def cluster_chain(picture: ClusterPicture, now: datetime) -> Chain:
    """Why a Cluster is not Ready; if it is, whether its machines are open."""
    cluster = picture.cluster
    if is_ready(cluster):
        return _ready_cluster_chain(picture)
    status = cluster.get("status") or {}
    reasons = [str(status.get("message") or "")]
    code = str(conditions_in(cluster).get("Ready", {}).get("reason") or "")
    event, todo = "", ""
    for stage in wrong_stages(cluster)[:1]:
        if stage["reason"] in ("Missing", "NotRead") and conditions_in(cluster).get("Stalled", {}).get("status") == "True":
            break  # it was not made, or looked at, because of the stall: no cause of anything
        reasons.append(_said(stage))
        code = stage["reason"] if stage["reason"] in REFERENCE else code
        words, event, todo = _pods_of_stage(picture, str(stage["type"]), said=" ".join(reasons))
        reasons.append(words)
    if not status:
        reasons = ["no Cluster-Operator has looked at it yet"]
        todo = "kok meta status shows whether one is running"
    head = f"Cluster {picture.place} is not ready ({_phase(cluster, now)})"
    return Chain(head, _told_once(reasons), event, todo or _remedy(code, cluster))


def _ready_cluster_chain(picture: ClusterPicture) -> Chain:
    closed = [machine["metadata"]["name"] for machine in picture.business.machines if not is_ready(machine)]
    stages = wrong_stages(picture.cluster)
    because = _told_once(map(_said, stages))
    if picture.business.problem and picture.pools:
        blind = f"its machines cannot be looked at: {picture.business.problem}"
        head = f"Cluster {picture.place} is ready, seen from the meta cluster"
        return Chain(head, (*because, blind), next="check the way to spec.endpoint from here")
    if not closed and stages:
        remedy = _remedy(str(stages[0]["reason"]), picture.cluster)
        return Chain(f"Cluster {picture.place} is ready, but not as wished", because, next=remedy)
    unready = [pool for pool in picture.pools if conditions_in(pool) and not is_ready(pool)]
    stalled = [pool for pool in unready if conditions_in(pool).get("Stalled", {}).get("status") == "True"]
    if not closed and stalled:
        return _unready_pool_chain(picture, stalled[0])
    if not closed and (coming := pending_words(picture.cluster)):
        return Chain(f"Cluster {picture.place} is ready; of its machines some are still to change", coming, next=GOES_ON)
    if not closed and unready:
        return _unready_pool_chain(picture, unready[0])
    if not closed:
        return Chain(f"Cluster {picture.place} is as wished; nothing is wrong", well=True)
    head = f"Cluster {picture.place} is ready, but {len(closed)} of {len(picture.business.machines)} machines are not open"
    return Chain(head, because, next=f"kok why machine {closed[0]} --cluster {picture.name} -n {picture.namespace}")


def _unready_pool_chain(picture: ClusterPicture, pool: Manifest) -> Chain:
    name = str(pool["metadata"]["name"])
    said = _told_once([str((pool.get("status") or {}).get("message") or ""), *map(_said, wrong_stages(pool)[:1])])
    head = f"Cluster {picture.place} is ready, but its pool {name} is not"
    return Chain(head, said, next=f"kok why pool {name} -n {picture.namespace}")


def _pods_of_stage(picture: ClusterPicture, stage: str, *, said: str) -> tuple[str, str, str]:
    """A sentence about the first pod that is not ready (none if it was `said` already), its last event, and the command that shows more."""
    for component in COMPONENTS_OF.get(stage, ()):
        pods = pods_of(picture, component)
        for pod in sorted(pods, key=lambda p: (_is_going(p), str(p["metadata"]["name"]))):
            if trouble := pod_trouble(pod, picture.events):
                sentence = "" if trouble.pod in said else trouble.sentence
                event = "" if says_the_same(trouble.event, f"{said} {sentence}") else trouble.event
                todo = GOES_ON if _is_going(pod) else _look_at_pod(picture.namespace, pod, f"{said} {trouble.sentence}")
                return sentence, event, todo
        if not pods:
            prefix = f"{picture.name}-{component}"
            about = [e for e in picture.events if _regards(e, prefix)]
            event = last_warning(_regarding(about[-1]), about) if about else ""
            return f"{component} has no pod", event, f"kubectl -n {picture.namespace} describe deployment,statefulset {prefix}"
    return "", "", ""


def _is_going(pod: Manifest) -> bool:
    """What is being deleted is soon no pod to look at; the one that takes its place tells more."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def _look_at_pod(namespace: str, pod: Manifest, sentence: str) -> str:
    name = pod["metadata"]["name"]
    crashed = "CrashLoopBackOff" in sentence or "exit code" in sentence
    if not crashed:
        return f"kubectl -n {namespace} describe pod {name}"
    container = sentence.split("container ", 1)[1].split(" ", 1)[0] if "container " in sentence else ""
    return f"kubectl -n {namespace} logs {name}{f' -c {container}' if container else ''} --previous"


def machine_chain(machine: Manifest, business: Business, place: str, now: datetime) -> Chain:
    """Why a Machine of `place` (namespace/name of its Cluster) is not open."""
    name = machine["metadata"]["name"]
    if is_ready(machine):
        return Chain(f"{name} is open; nothing is wrong", well=True)
    status = machine.get("status") or {}
    stages = wrong_stages(machine)
    reasons = [str(status.get("message") or "")]
    event, code = "", str(conditions_in(machine).get("Ready", {}).get("reason") or "")
    for stage in stages[:1]:
        reasons.append(_said(stage))
        code = stage["reason"] if stage["reason"] in REFERENCE else code
        if stage["type"] == "PackagesReady":
            reasons += _package_differences(machine)
        if stage["type"] == "NodeReady":
            reasons += _node_words(business, name)
            event = last_warning(name, business.events)
    reasons += [_said(stage) for stage in stages[1:] if stage["type"] == "GatesOpen" and stages[0]["type"] != "HostReachable"]
    if not status:
        reasons = ["the Machine-Operator has not looked at it yet"]
        namespace, cluster = place.split("/")
        return Chain(f"{name} takes no new pods", tuple(reasons), next=f"kok why cluster {cluster} -n {namespace}")
    return Chain(
        f"{name} takes no new pods ({_phase(machine, now)})", _told_once(reasons), event, _remedy(code, machine, place.split("/")[0])
    )


def missing_machine_chain(name: str, picture: ClusterPicture) -> Chain | None:
    """Why a wished host has no Machine (yet); None if no pool wishes it."""
    for pool in picture.pools:
        if any(host["name"] == name for host in pool["spec"].get("hosts") or ()):
            status = pool.get("status") or {}
            reasons = [f"it stands in pool {pool['metadata']['name']}, and no Machine was made for it yet"]
            if not is_ready(picture.cluster):
                reasons.append(
                    f"Cluster {picture.place}: {(picture.cluster.get('status') or {}).get('message') or 'nobody has looked at it yet'}"
                )
            reasons += [picture.business.problem, str(status.get("message") or ""), *map(_said, wrong_stages(pool)[:1])]
            return Chain(f"{name} is no machine yet", _told_once(reasons), next=f"kok why cluster {picture.name} -n {picture.namespace}")
    return None


def object_chain(manifest: Manifest, now: datetime) -> Chain:
    """Any kind with conditions: the summary, then the first cause."""
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    if not conditions_in(manifest):
        return Chain(f"{name} has no conditions: there is nothing to ask why about", well=True)
    if is_ready(manifest) and not wrong_stages(manifest):
        return Chain(f"{name} is as wished; nothing is wrong", well=True)
    reasons = [str((manifest.get("status") or {}).get("message") or ""), *map(_said, wrong_stages(manifest)[:1])]
    code = str(conditions_in(manifest).get("Ready", {}).get("reason") or "")
    todo = _remedy(code, manifest)
    if manifest["kind"] == "MachinePool" and todo == GOES_ON:  # that of its machines perhaps does not
        todo = f"kok get machines -n {manifest['metadata']['namespace']} shows which; kok why machine NAME -n {manifest['metadata']['namespace']}"
    return Chain(f"{name} is not ready ({_phase(manifest, now)})", _told_once(reasons), next=todo)


def _package_differences(machine: Manifest) -> list[str]:
    packages = (machine.get("status") or {}).get("packages") or ()
    return [f"{p['component']}: {p['difference']}" for p in packages if not p.get("matches") and p.get("difference")]


def _node_words(business: Business, name: str) -> list[str]:
    node = next((n for n in business.nodes if n["metadata"]["name"] == name), None)
    if node is None:
        return [f"there is no Node {name}: its kubelet has not registered"]
    conditions = conditions_in(node)
    pressed = [c for kind, c in conditions.items() if kind != "Ready" and c["status"] == "True"]
    ready = [conditions["Ready"]] if conditions.get("Ready", {}).get("status") != "True" and "Ready" in conditions else []
    return [f"Node {name}: {c['reason']}: {c.get('message', '')}" for c in (*pressed, *ready)]


def _said(condition: ConditionView) -> str:
    message = condition.get("message")
    return str(message) if message else f"{condition['type']} is {condition['status']}: {condition['reason']}"


def _phase(manifest: Manifest, now: datetime) -> str:
    ready = conditions_in(manifest).get("Ready") or {}
    phase = (manifest.get("status") or {}).get("phase") or ready.get("reason") or "not looked at yet"
    return f"{phase}, {age_of(ready.get('lastTransitionTime'), now)}" if ready else str(phase)


def _remedy(code: str, manifest: Manifest, namespace: str = "") -> str:
    """What the code's entry says, with the names that are known here; else whether it goes on by itself."""
    entry = REFERENCE.get(ErrorCode(code)) if code in REFERENCE else REASONS.get(code)
    if entry:
        return f"{_named(entry.remedy, manifest, namespace or manifest['metadata'].get('namespace', ''))}   (kok explain {code})"
    if conditions_in(manifest).get("Reconciling", {}).get("status") == "True":
        return GOES_ON
    return f"kubectl describe {manifest['kind'].lower()}s.kok.dev {manifest['metadata']['name']}"


def _named(remedy: str, manifest: Manifest, namespace: str) -> str:
    """A remedy as it is typed here: `-n NS`, POOL and =HOST are known. Other names are left to the person: they may be of anything."""
    words = re.sub(r"-n (NS|NAMESPACE)\b", f"-n {namespace}", remedy) if namespace else remedy
    if manifest["kind"] == "Machine" and (pool := manifest["spec"].get("pool")):
        words = re.sub(r"=HOST\b", f"={manifest['metadata']['name']}", re.sub(r"\bPOOL\b", pool, words))
    return words


def _told_once(reasons: Iterable[str]) -> tuple[str, ...]:
    told: list[str] = []
    for reason in reasons:
        text = " ".join(reason.split())
        if text and not any(text in before for before in told):
            told.append(text)
    return tuple(told)


def _regarding(event: Manifest) -> str:
    return str((event.get("involvedObject") or event.get("regarding") or {}).get("name") or "")


def _regards(event: Manifest, prefix: str) -> bool:
    name = _regarding(event)
    return event.get("type") == "Warning" and (name == prefix or name.startswith(f"{prefix}-"))

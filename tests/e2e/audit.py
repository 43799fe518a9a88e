"""Was every dangerous act done under a live grant? From lines of API servers' audit logs alone. Pure.

The meta cluster's holds acts on planes and each grant as it was written; those of the business clusters hold acts on nodes and pods.
Grants and their Clusters may be gone when a run ends; the logs are what remains. Called at the end of an end-to-end run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

OF_PLANES = frozenset({"UpgradePlane", "DeletePlane"})
OF_MEMBERS = frozenset({"RestartMaster", "RemoveEtcdMember"})
EMPTYING = frozenset({"Drain", "ApplyPackage"})
INSIDE = {
    "create pods/eviction": EMPTYING,
    "patch nodes": EMPTYING | {"Cordon"},
    "update nodes": EMPTYING | {"Cordon"},
    "delete nodes": frozenset({"DeleteMachine"}),
    "delete machines": frozenset({"DeleteMachine"}),
}
"""What may be done inside a business cluster -> operations whose grants allow it. Nothing else may be."""
OPERATORS = (":kok-cluster-operator", "-machine-operator", "kok:machine-operator", "kok:cluster-operator")
"""How the names of kok's service accounts end, and what it is called inside; what provisioners and people do is theirs."""
WITHOUT_LEAVE = ("-konnectivity", "-machine-operator")
"""Deployments that are no masters."""
PROBES = "kok-probe"
"""Namespace of kok's own probe pods."""
GRANT = "kok.dev/grant"


@dataclass(frozen=True, slots=True)
class Act:
    """One dangerous call that the API server carried out."""

    at: datetime
    user: str
    verb: str
    resource: str
    """pods, pods/eviction, nodes, ..."""
    namespace: str
    name: str
    forced: bool = False
    """Whether nobody was waited for (gracePeriodSeconds 0): the way a pod is taken off a node that is gone."""
    grant: str = ""
    """The one that an eviction names."""
    plane: str = ""
    """Namespace of the Cluster inside of which it was done; empty: in the meta cluster."""

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        inside = f" inside {self.plane}" if self.plane else ""
        return f"{self.at:%H:%M:%S} {self.verb} {self.resource} {where} by {self.user}{inside}"


@dataclass(frozen=True, slots=True)
class Leave:
    """What became of one grant, by the writes of it."""

    namespace: str
    name: str
    operation: str
    kind: str
    target: str
    granted: datetime | None = None
    ended: datetime | None = None
    """When its holder reported, or the risk centre settled it."""
    expires: datetime | None = None

    def is_live(self, moment: datetime) -> bool:
        """Whether it allowed anything then. What is left of a removed member may be cleared away after the report of its removal."""
        if self.granted is None or moment < self.granted or (self.expires and moment > self.expires):
            return False
        return self.ended is None or moment <= self.ended or self.operation == "RemoveEtcdMember"


def acts_without_leave(meta: Iterable[str], since: datetime, inside: Mapping[str, Iterable[str]] | None = None) -> list[str]:
    """A line for each act from then on that no grant covers; empty if all are covered. `inside`: namespace of a Cluster -> lines of its own log.

    Lines that are no JSON are cut ones, and skipped.
    """
    meta = list(meta)
    leaves = leaves_in(filter(None, map(_event, meta)))
    acts = acts_in(meta, since, inside)
    return [str(act) for act in acts if not _needs_none(act) and not any(_covers(leave, act) for leave in leaves)]


def acts_in(meta: Iterable[str], since: datetime, inside: Mapping[str, Iterable[str]] | None = None) -> list[Act]:
    """Every dangerous act from then on: a run that did none has proven nothing."""
    logs = {"": meta, **(inside or {})}
    found = [replace(act, plane=plane) for plane, lines in logs.items() for act in map(_act, filter(None, map(_event, lines))) if act]
    return [act for act in found if act.at >= since]


def leaves_in(events: Iterable[Mapping[str, Any]]) -> list[Leave]:
    """Grants with what the log says of them."""
    found: dict[tuple[str, str], Leave] = {}
    for event in sorted(events, key=_when):
        stored = event.get("responseObject") or {}
        if stored.get("kind") != "OperationGrant":
            continue
        spec, status, metadata = stored["spec"], stored.get("status") or {}, stored["metadata"]
        key = (metadata["namespace"], metadata["name"])
        leave = found.get(key) or Leave(*key, spec["operation"], spec["target"]["kind"], spec["target"]["name"])
        if leave.granted is None and status.get("decision") == "Granted":
            leave = replace(leave, granted=_when(event), expires=_time(status.get("expiresAt")))
        if leave.ended is None and (spec.get("outcome") or status.get("settledAt")):
            leave = replace(leave, ended=_when(event))
        found[key] = leave
    return list(found.values())


def _event(line: str) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    code = int((event.get("responseStatus") or {}).get("code") or 0)
    return event if event.get("stage") == "ResponseComplete" and code < 400 else None


def _act(event: Mapping[str, Any]) -> Act | None:
    target, body = event.get("objectRef") or {}, _body(event)
    resource, verb = target.get("resource", ""), event["verb"]
    user = str((event.get("user") or {}).get("username", ""))
    if not user.endswith(OPERATORS):
        return None
    if target.get("subresource"):
        resource = f"{resource}/{target['subresource']}"
    if resource in ("operationgrants", "operationgrants/status"):
        return None
    if resource == "nodes" and verb in ("update", "patch") and not (body.get("spec") or {}).get("unschedulable"):
        return None
    forced = verb == "delete" and body.get("gracePeriodSeconds") == 0
    grant = ((body.get("metadata") or {}).get("annotations") or {}).get(GRANT, "")
    return Act(_when(event), user, verb, resource, target.get("namespace", ""), target.get("name", ""), forced, grant)


def _body(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was sent; of a JSON patch what it would set of a Node."""
    sent = event.get("requestObject") or {}
    if not isinstance(sent, list):
        return dict(sent)
    return {"spec": {"unschedulable": any(each.get("path") == "/spec/unschedulable" and each.get("value") for each in sent)}}


def _needs_none(act: Act) -> bool:
    """Deployments that are no masters, pods without data that are taken off a node that is gone, and kok's own probes."""
    if act.plane:
        return act.resource == "pods" and act.namespace == PROBES
    if act.resource == "deployments":
        return act.name.endswith(WITHOUT_LEAVE)
    return act.resource == "pods" and act.forced and "-etcd-" not in act.name


def _covers(leave: Leave, act: Act) -> bool:
    if not leave.is_live(act.at) or leave.namespace != (act.plane or act.namespace):
        return False
    return _covers_inside(leave, act) if act.plane else _covers_outside(leave, act)


def _covers_inside(leave: Leave, act: Act) -> bool:
    """An eviction names its grant, as it does not name the node; all else is done to what the grant is for."""
    if leave.operation not in INSIDE.get(f"{act.verb} {act.resource}", ()):
        return False
    return act.grant == leave.name if act.resource == "pods/eviction" else act.name == leave.target


def _covers_outside(leave: Leave, act: Act) -> bool:
    if leave.kind == "Cluster":
        return leave.operation == "DeletePlane" or (leave.operation in OF_PLANES and act.resource == "pods")
    members = {"pods": act.name, "persistentvolumeclaims": act.name.removeprefix("data-")}
    return leave.operation in OF_MEMBERS and members.get(act.resource) == leave.target


def _when(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["requestReceivedTimestamp"])


def _time(stamp: str | None) -> datetime | None:
    return datetime.fromisoformat(stamp) if stamp else None

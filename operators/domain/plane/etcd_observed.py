"""What the pods and volume claims of an etcd say, as the rules of membership read it. Pure; called by cluster_operator.cluster.etcd_look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from operators.domain.plane.etcd_view import MemberPod, MemberVolume
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.workloads import REVISION, is_ready, name_of, ordinal_of

NO_DATA = 3
"""Exit code of a member's start step that found an empty disk (`operators.services.etcd_start.NO_DATA`)."""
START = "start"
"""Name of that step in the pod."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Taint by which a person says that a node is shut down for good (KEP-2268, non-graceful node shutdown)."""
NODE_GONE = "kok.dev/gone"
"""Annotation by which a person says the same where taints are somebody else's; any value."""
HOSTNAME = "kubernetes.io/hostname"


def why_gone(name: str, node: Mapping[str, Any] | None) -> str:
    """In words, when that node is confirmed to be gone: not one that is only silent. `node` is None when the API server says there is none."""
    if node is None:
        return f"node {name}, which does not exist any more"
    if any(taint.get("key") == OUT_OF_SERVICE for taint in (node.get("spec") or {}).get("taints") or ()):
        return f"node {name}, which is tainted {OUT_OF_SERVICE}"
    if NODE_GONE in ((node.get("metadata") or {}).get("annotations") or {}):
        return f"node {name}, which is annotated {NODE_GONE}"
    return ""


def node_of(pod: Manifest) -> str:
    """The node that a pod is bound to; empty while it is not."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def home_of(volume: Mapping[str, Any] | None) -> str:
    """The one node where a PersistentVolume can be used; empty if it can be used on others too."""
    required = (((volume or {}).get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}
    terms = required.get("nodeSelectorTerms") or ()
    hosts = {
        value
        for term in terms
        for expression in term.get("matchExpressions") or ()
        if expression.get("key") == HOSTNAME and expression.get("operator") == "In"
        for value in expression.get("values") or ()
    }
    return str(next(iter(hosts))) if len(hosts) == 1 else ""


def member_pods(pods: Iterable[Manifest], revision: str, gone: Mapping[str, str]) -> dict[int, MemberPod]:
    """By ordinal. `revision` is the one that pods should have, empty if unknown; `gone` says of nodes why they are."""
    return {ordinal_of(name_of(pod)): _member_pod(pod, revision, gone) for pod in pods}


def _member_pod(pod: Manifest, revision: str, gone: Mapping[str, str]) -> MemberPod:
    status: Mapping[str, Any] = pod.get("status") or {}
    ended = [
        (each.get(state) or {}).get("terminated")
        for each in status.get("initContainerStatuses") or ()
        if each.get("name") == START
        for state in ("state", "lastState")
    ]
    codes = [int(each.get("exitCode", -1)) for each in ended if each]
    return MemberPod(
        name=name_of(pod),
        uid=str(pod["metadata"].get("uid") or ""),
        ready=is_ready(pod),
        ending=bool(pod["metadata"].get("deletionTimestamp")),
        empty=bool(codes) and codes[0] == NO_DATA,
        begun=bool(codes) and codes[0] == 0,
        outdated=bool(revision) and (pod["metadata"].get("labels") or {}).get(REVISION, revision) != revision,
        gone_node=gone.get(node_of(pod), ""),
    )


def member_volumes(claims: Iterable[Manifest], gone: Mapping[str, str]) -> dict[int, MemberVolume]:
    """By ordinal. `gone` says of claims, by name, why their data cannot be had any more."""
    return {
        ordinal_of(name_of(claim)): MemberVolume(
            name=name_of(claim),
            uid=str(claim["metadata"].get("uid") or ""),
            ending=bool(claim["metadata"].get("deletionTimestamp")),
            gone_node=gone.get(name_of(claim), ""),
        )
        for claim in claims
    }

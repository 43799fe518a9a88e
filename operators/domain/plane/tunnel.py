"""The way into the business network: where it stands in the ladder, and what is shown of it. Pure; called by ladder and status.

It never holds a plane back: without it the API server answers all the same, and before the first node there is no agent that could dial.
Readiness of a konnectivity pod means that an agent is connected to it.
"""

from __future__ import annotations

from operators.api.base import ConditionStatus
from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.desired import KONNECTIVITY
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.view import PlaneView, Unknown

AGENTS = ObjectId("apps/v1", "DaemonSet", "kube-system", "konnectivity-agent")
"""Inside the business cluster."""
Verdict = tuple[ConditionStatus, str, str]


def tunnel_verdict(view: PlaneView) -> Verdict:
    """Status, reason and message of the condition TunnelReady."""
    if not isinstance(view.package, ClusterPackageVersion):
        return ConditionStatus.UNKNOWN, "NotRead", "the package version has not been read"
    if view.package.spec.components.konnectivity is None:
        return (
            ConditionStatus.TRUE,
            "NotAsked",
            f"{view.package.metadata.name} brings no konnectivity: API servers reach nodes by themselves",
        )
    server = view.workloads.get(KONNECTIVITY)
    if server is None or view.tunnel_waits:
        return ConditionStatus.FALSE, "Missing", view.tunnel_waits or "konnectivity does not exist yet"
    if server.trouble:
        return ConditionStatus.FALSE, "NotUp", server.shortfall
    if isinstance(view.business, Unknown):
        return ConditionStatus.UNKNOWN, "NotRead", view.business.reason
    connected, nodes = view.business.agents
    counted = f"agents connected on {connected} of {nodes} nodes, to {min(server.ready, server.wanted)} of {server.wanted} servers"
    if not nodes:
        return ConditionStatus.UNKNOWN, "NoNodes", "agents run on nodes, and there is no node yet"
    if not server.ready or connected < nodes:
        return ConditionStatus.FALSE, "AgentsMissing", counted
    return ConditionStatus.TRUE, "Connected", counted

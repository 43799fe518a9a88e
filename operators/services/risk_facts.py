"""What the evaluation of a request needs to know of the world: budgets, Clusters, the targets and which of them are out of service. Reads only.

Read live, as one request needs it; what cannot be read is an error, and an error is a denial. Used by the risk centre and, with a
person's own rights, by `kok budget explain`. Of a fleet's machines only those of the own cluster are looked at; others count by their grants.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from operators.api.base import API_VERSION, LABEL_CLUSTER, LABEL_COMPONENT
from operators.api.budgets import OperationBudget, Per
from operators.api.hosts import HostClaim
from operators.api.pools import MachinePool
from operators.api.risk import Target
from operators.domain.risk.decide import Ask
from operators.domain.risk.facts import Facts, FleetCluster, Member
from operators.domain.risk.identity import at
from operators.domain.risk.scopes import MACHINE, ClusterId, budgets_about
from operators.domain.risk.sighting import SETTLING, lost_at, node_trouble
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, KubeConnector, KubePort, Manifest

BUDGET, CLUSTER = Kind(API_VERSION, "OperationBudget"), Kind(API_VERSION, "Cluster")
POOL, CLAIM = Kind(API_VERSION, "MachinePool"), Kind(API_VERSION, "HostClaim")
NODE, POD, SECRET = Kind("v1", "Node"), Kind("v1", "Pod"), Kind("v1", "Secret")
DEPLOYMENT, STATEFUL_SET = Kind("apps/v1", "Deployment"), Kind("apps/v1", "StatefulSet")
DEADLINE = 5.0


class RiskFacts:
    """FactsPort. `kube` is the meta cluster, `connector` the way into the business clusters; `secret` ends the name of the kubeconfig's Secret."""

    def __init__(self, kube: KubePort, connector: KubeConnector, *, secret: str = "operator-kubeconfig") -> None:  # noqa: S107 - a name
        self._kube, self._connector, self._secret = kube, connector, secret

    async def budgets(self) -> tuple[OperationBudget, ...]:
        """See FactsPort."""
        return tuple(OperationBudget.parse(each) for each in (await self._kube.list(BUDGET, deadline=DEADLINE)).items)

    async def read(self, ask: Ask) -> Facts:
        """See FactsPort. All that is likely to be needed at once: each list waits until the API server's cache is level, a tenth of a second."""
        own = ask.place.cluster
        budgets, cluster, members = await asyncio.gather(
            self.budgets(), self._kube.get(CLUSTER.ref(own.name, own.namespace), deadline=DEADLINE), self._members_or_why(own, ask.target)
        )
        if cluster is None:
            raise KokError(ErrorCode.NotFound, f"Cluster {own} does not exist: nothing of it may be acted on")
        labels = cluster["metadata"].get("labels") or {}
        about = budgets_about(budgets, ask.place, labels)
        if not any(each.spec.concurrency for each in about):
            members = ()
        if isinstance(members, KokError):
            raise members
        of_fleet = [each for each in about if each.spec.scope.per is Per.Fleet and _needs_fleet(each, ask)]
        fleet = await self._fleet(ask.target.kind) if of_fleet else {}
        return Facts(budgets, labels, tuple(members), fleet, sees_losses=True)

    async def _members_or_why(self, own: ClusterId, target: Target) -> Iterable[Member] | KokError:
        """An error is one only for budgets that count them."""
        try:
            return await self._members(own, target)
        except KokError as error:
            return error

    async def _members(self, own: ClusterId, target: Target) -> Iterable[Member]:
        match target.kind:
            case "Machine":
                return await self._machines(own)
            case "Cluster":
                return [Member(own, target)]
        return await self._masters(own, target)

    async def _machines(self, own: ClusterId) -> list[Member]:
        """Hosts that a pool lists or a claim holds, by the facts of their Nodes. A host without a Node was never in service, or is in a grant's hands."""
        nodes, targets = await asyncio.gather(self._nodes(own), self.hosts(own))
        return [_machine(own, target, nodes.get(name)) for name, target in sorted(targets.items())]

    async def _nodes(self, own: ClusterId) -> Mapping[str, Manifest]:
        business = await self._business(own)
        return {each["metadata"]["name"]: each for each in (await business.list(NODE, deadline=DEADLINE)).items}

    async def hosts(self, own: ClusterId) -> dict[str, Target]:
        """By name. A claim outlives the pool's wish, so it decides where a host counts."""
        listed, claimed = await asyncio.gather(
            self._kube.list(POOL, namespace=own.namespace, deadline=DEADLINE),
            self._kube.list(CLAIM, selector=f"{LABEL_CLUSTER}={own.name}", deadline=DEADLINE),
        )
        pools, claims = [MachinePool.parse(each) for each in listed.items], claimed.items
        found = {
            host.name: Target(kind=MACHINE, name=host.name, cluster=own.name, pool=pool.metadata.name, zone=host.zone)
            for pool in pools
            if pool.spec.cluster_name == own.name
            for host in pool.spec.hosts
        }
        for spec in (HostClaim.parse(each).spec for each in claims):
            if spec.namespace == own.namespace:
                zone = spec.connection.zone
                found[spec.host] = Target(kind=MACHINE, name=spec.host, cluster=own.name, pool=spec.pool, zone=zone)
        return found

    async def _business(self, own: ClusterId) -> KubePort:
        """The business cluster's API server, by the kubeconfig that the Cluster-Operator wrote for itself."""
        name = f"{own.name}-{self._secret}"
        secret = await self._kube.get(SECRET.ref(name, own.namespace), deadline=DEADLINE)
        encoded = ((secret or {}).get("data") or {}).get("kubeconfig")
        if not encoded:
            raise KokError(ErrorCode.SecretMissing, f"there is no way into {own}: Secret {name} is missing or empty")
        return self._connector.connect(str(own), base64.b64decode(encoded).decode())

    async def _masters(self, own: ClusterId, target: Target) -> list[Member]:
        """Targets of the same component: the members of an etcd one by one, any other component as a whole. What is sick of another
        component is no reason: one that stands on this one is sick because this one is.
        """
        component = component_of(own.name, target)
        selector = f"{LABEL_CLUSTER}={own.name},{LABEL_COMPONENT}={component}"
        if target.kind != "Pod":
            return [Member(own, target)]
        found = [self._kube.list(kind, namespace=own.namespace, selector=selector, deadline=DEADLINE) for kind in (STATEFUL_SET, POD)]
        sets, pods = (listing.items for listing in await asyncio.gather(*found))
        if not sets:
            return [Member(own, target)]
        by_name = {each["metadata"]["name"]: each for each in pods}
        wanted = {f"{each['metadata']['name']}-{ordinal}" for each in sets for ordinal in range(int(each["spec"].get("replicas", 1)))}
        names = sorted(wanted | set(by_name))
        return [_master(own, target.model_copy(update={"name": name}), by_name.get(name)) for name in names]

    async def _fleet(self, kind: str) -> dict[ClusterId, FleetCluster]:
        clusters, machines, sick = await asyncio.gather(self._kube.list(CLUSTER), self._machine_counts(kind), self._sick_planes(kind))
        found = {}
        for each in clusters.items:
            name = ClusterId(each["metadata"]["namespace"], each["metadata"]["name"])
            trouble, since = sick.get(name, ("", None))
            found[name] = FleetCluster(name, each["metadata"].get("labels") or {}, machines[name], trouble, since)
        return found

    async def _machine_counts(self, kind: str) -> Counter[ClusterId]:
        machines: Counter[ClusterId] = Counter()
        if kind == MACHINE:
            for pool in (MachinePool.parse(each) for each in (await self._kube.list(POOL)).items):
                machines[ClusterId(pool.metadata.namespace or "", pool.spec.cluster_name)] += len(pool.spec.hosts)
        return machines

    async def _sick_planes(self, kind: str) -> Mapping[ClusterId, tuple[str, datetime | None]]:
        if kind != "Cluster":
            return {}
        listing = await self._kube.list(DEPLOYMENT, selector=f"{LABEL_COMPONENT}=apiserver,{LABEL_CLUSTER}")
        return {_owner(each): (trouble, lost_at(each, "Available")) for each in listing.items if (trouble := plane_trouble(each))}


def _machine(own: ClusterId, target: Target, node: Manifest | None) -> Member:
    return Member(own, target, node_trouble(node), lost_at(node)) if node else Member(own, target)


def _master(own: ClusterId, target: Target, pod: Manifest | None) -> Member:
    return Member(own, target, pod_trouble(pod), lost_at(pod) if pod else None)


def _needs_fleet(budget: OperationBudget, ask: Ask) -> bool:
    """Other Clusters matter to a fleet's budget by their labels, their number, or their planes' health."""
    concurrency = budget.spec.concurrency
    by_labels = bool(budget.spec.scope.clusters.match_labels)
    return by_labels or (concurrency is not None and (concurrency.percent is not None or ask.target.kind == "Cluster"))


def component_of(cluster: str, target: Target) -> str:
    """`etcd` of Pod demo-etcd-0, `apiserver` of Deployment demo-apiserver."""
    name = target.name.removeprefix(f"{cluster}-")
    head, _, ordinal = name.rpartition("-")
    return head if target.kind == "Pod" and ordinal.isdigit() else name


def pod_trouble(pod: Manifest | None) -> str:
    """Why a pod is out of service; empty if it is not."""
    if pod is None:
        return "it does not exist"
    if pod["metadata"].get("deletionTimestamp"):
        return "it is being deleted"
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = next((each.get("status") for each in conditions if each.get("type") == "Ready"), "missing")
    return "" if ready == "True" else f"its Ready condition is {ready}"


def plane_trouble(deployment: Manifest) -> str:
    """Why a plane is out of service, by its API server's Deployment; empty if it is not, is being built, or is going."""
    status, metadata = deployment.get("status") or {}, deployment["metadata"]
    if metadata.get("deletionTimestamp") or not deployment["spec"].get("replicas", 1) or status.get("availableReplicas"):
        return ""
    available = next((each for each in status.get("conditions") or () if each.get("type") == "Available"), None)
    since = (available or {}).get("lastTransitionTime")
    if not since or at(since) - at(metadata["creationTimestamp"]) < SETTLING:
        return ""
    return f"its API server is unavailable since {since}"


def _owner(manifest: Manifest) -> ClusterId:
    metadata = manifest["metadata"]
    return ClusterId(metadata["namespace"], metadata["labels"][LABEL_CLUSTER])

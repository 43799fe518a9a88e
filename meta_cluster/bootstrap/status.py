"""How an installation stands, part by part. `look` reads, `rows_of` is pure; used by `kok meta status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meta_cluster.bootstrap.install import SYSTEM_NAMESPACE, missing_replicas
from operators.api import API_VERSION, GROUP, KINDS
from operators.ports.kube import Kind, KubePort, Manifest, NotFound

OPERATORS = ("kok-cluster-operator", "kok-artifacts")
CRD, DEPLOYMENT = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition"), Kind("apps/v1", "Deployment")
COUNTED = ("ClusterPackageVersion", "MachinePackageVersion", "OperationBudget", "Ledger", "Cluster", "MachinePool")
Look = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One part: `ok`, `missing` or `waiting`, and what there is to say."""

    part: str
    state: str
    detail: str


async def look(kube: KubePort) -> Look:
    """Objects by kind; a kind that is not served has none."""
    found: Look = {}
    for kind in (CRD, *(Kind(API_VERSION, name) for name in COUNTED)):
        try:
            found[kind.kind] = list((await kube.list(kind)).items)
        except NotFound:
            found[kind.kind] = []
    found[DEPLOYMENT.kind] = list((await kube.list(DEPLOYMENT, namespace=SYSTEM_NAMESPACE)).items)
    return found


def rows_of(found: Look) -> list[Row]:
    """CRDs, catalogue, ledger, operators, then what is looked after."""
    deployments = {d["metadata"]["name"]: d for d in found["Deployment"]}
    cluster, machine = len(found["ClusterPackageVersion"]), len(found["MachinePackageVersion"])
    budgets = len(found["OperationBudget"])
    ledger = any((m["metadata"]["namespace"], m["metadata"]["name"]) == (SYSTEM_NAMESPACE, "ledger") for m in found["Ledger"])
    return [
        _crds(found["CustomResourceDefinition"]),
        Row("catalogue", "ok" if cluster else "missing", f"{cluster} cluster and {machine} machine package versions"),
        Row("budgets", "ok" if budgets else "missing", str(budgets) if budgets else "every dangerous operation is denied"),
        Row("ledger", "ok" if ledger else "missing", "" if ledger else "every dangerous operation is denied"),
        *(_operator(name, deployments.get(name)) for name in OPERATORS),
        Row("looked after", "ok", f"Clusters: {len(found['Cluster'])}, pools: {len(found['MachinePool'])}"),
    ]


def _crds(crds: list[Manifest]) -> Row:
    wanted = {f"{kind.INFO.plural}.{GROUP}" for kind in KINDS if kind.INFO.home == "meta"}
    there = {
        crd["metadata"]["name"]
        for crd in crds
        if any(c["type"] == "Established" and c["status"] == "True" for c in (crd.get("status") or {}).get("conditions") or ())
    }
    missing = sorted(wanted - there)
    detail = f"missing: {', '.join(missing)}" if missing else f"{len(wanted)} kinds established"
    return Row("CRDs", "missing" if missing else "ok", detail)


def _operator(name: str, deployment: Manifest | None) -> Row:
    if deployment is None:
        return Row(name, "missing", "")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    waits = missing_replicas(deployment)
    ready = (deployment.get("status") or {}).get("availableReplicas") or 0
    return Row(name, "waiting" if waits else "ok", waits or f"{ready}/{deployment['spec']['replicas']} ready   {image}")

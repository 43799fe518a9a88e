"""Ways in: from options to KubePorts, for the meta cluster and for business clusters. Holds no SSH keys; reads one Secret per business cluster."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from meta_cluster.cli.near import near_hint, where_else
from meta_cluster.cli.options import Access
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import Credentials, in_cluster_credentials, kubeconfig_credentials, kubeconfig_file_credentials
from operators.domain.plane.node_ports import node_ports_of
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Forbidden, Kind, KubePort, Manifest

FIELD_MANAGER = "kok"
CLUSTER = Kind("kok.dev/v1alpha1", "Cluster")
SECRET = Kind("v1", "Secret")
SERVICE = Kind("v1", "Service")
HOME_KUBECONFIG = "~/.kube/config"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Meta:
    """An open way into the meta cluster."""

    kube: KubePort
    namespace: str
    """What -n said, else the context's, else `default`."""
    server: str


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """asyncio at the edge. A group of failures is told as its first."""
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    first: BaseException = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def meta_credentials(access: Access) -> Credentials:
    """Who we are to the meta cluster, or act as (--as). KokError Usage for groups without a user, which the API server refuses, too."""
    if access.groups and not access.user:
        raise KokError(ErrorCode.Usage, "--as-group needs --as", "--as NAME --as-group GROUP")
    found = _own_credentials(access)
    return replace(found, as_user=access.user, as_groups=access.groups) if access.user else found


def _own_credentials(access: Access) -> Credentials:
    """Those of --kubeconfig, $KUBECONFIG (the first file of it that exists), ~/.kube/config, or the pod we run in; KokError Usage for none."""
    if access.kubeconfig:
        return kubeconfig_file_credentials(access.kubeconfig, context=access.context)
    listed = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    for path in listed or [HOME_KUBECONFIG]:
        if Path(path).expanduser().is_file():
            return kubeconfig_file_credentials(path, context=access.context)
    if listed:
        return kubeconfig_file_credentials(listed[0], context=access.context)
    try:
        return in_cluster_credentials()
    except KokError:
        raise KokError(
            ErrorCode.Usage,
            f"no kubeconfig of a meta cluster: neither --kubeconfig nor $KUBECONFIG is set, and there is no {HOME_KUBECONFIG}",
            "pass --kubeconfig FILE; for the lab: export KUBECONFIG=$(kok lab kubeconfig)",
        ) from None


@asynccontextmanager
async def open_meta(access: Access, *, field_manager: str = FIELD_MANAGER, dry_run: bool = False) -> AsyncIterator[Meta]:
    """The meta cluster, closed at the end."""
    credentials = meta_credentials(access)
    client = KubeClient(credentials, field_manager=field_manager, dry_run=dry_run)
    try:
        yield Meta(client, access.namespace or credentials.namespace or "default", credentials.server)
    finally:
        await client.close()


async def kubeconfig_of(meta: Meta, namespace: str, cluster: str) -> str:
    """The admin kubeconfig of a business cluster. Raises KokError NotFound (no such Cluster), SecretMissing (not made yet) or
    PortTaken (its address is not its own), saying why."""
    found = await meta.kube.get(CLUSTER.ref(cluster, namespace))
    if found is None:
        raise await no_cluster(meta, namespace, cluster)
    secret = await meta.kube.get(SECRET.ref(f"{cluster}-kubeconfig", namespace))
    text = ((secret or {}).get("data") or {}).get("kubeconfig")
    if not text:
        status = found.get("status") or {}
        why = f" ({status['message']})" if status.get("message") else ""
        raise KokError(
            ErrorCode.SecretMissing,
            f"Cluster {namespace}/{cluster} has no kubeconfig yet{why}",
            f"kok why cluster {cluster} -n {namespace}",
        )
    if why := await _not_its_own(meta, found):
        raise KokError(
            ErrorCode.PortTaken, f"Cluster {namespace}/{cluster} is not at its address: {why}", f"kok why cluster {cluster} -n {namespace}"
        )
    return base64.b64decode(text).decode()


async def no_cluster(meta: Meta, namespace: str, cluster: str) -> KokError:
    """NotFound, with where else it is or what was meant."""
    hint = await where_else(meta.kube, CLUSTER, cluster, namespace, "kok get clusters -A lists them")
    return KokError(ErrorCode.NotFound, f"there is no Cluster {namespace}/{cluster}", hint)


async def _not_its_own(meta: Meta, cluster: Manifest) -> str:
    """Why the address in the kubeconfig may be somebody else's: a node port is a Cluster's only once its Service has it. Empty if it is its own.

    Who may not read Services is told by what the operator shows.
    """
    endpoint, name, namespace = cluster["spec"]["endpoint"], cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    if endpoint.get("type", "NodePort") != "NodePort":
        return ""
    status = cluster.get("status") or {}
    stalled: Manifest = next((each for each in status.get("conditions") or () if each["type"] == "Stalled"), {})
    shown = str(stalled.get("message") or "") if stalled.get("reason") == ErrorCode.PortTaken and stalled.get("status") == "True" else ""
    try:
        service = await meta.kube.get(SERVICE.ref(f"{name}-apiserver", namespace))
    except Forbidden:
        return shown
    if service and endpoint.get("port") in node_ports_of(service):
        return ""
    return shown or f"node port {endpoint.get('port')} of spec.endpoint.port is not (yet) that of its Service {namespace}/{name}-apiserver"


@asynccontextmanager
async def open_business(meta: Meta, namespace: str, cluster: str) -> AsyncIterator[KubePort]:
    """The API of a business cluster as its admin, closed at the end."""
    text = await kubeconfig_of(meta, namespace, cluster)
    client = KubeClient(kubeconfig_credentials(text, origin=f"Secret {namespace}/{cluster}-kubeconfig"), field_manager=FIELD_MANAGER)
    try:
        yield client
    finally:
        await client.close()


async def clusters_in(meta: Meta, *, namespace: str = "", cluster: str = "") -> list[Manifest]:
    """Clusters of a namespace (empty: of all), or the one of that name. KokError NotFound if a named one is not there."""
    items = list((await meta.kube.list(CLUSTER, namespace=namespace)).items)
    if not cluster:
        return items
    named = [item for item in items if item["metadata"]["name"] == cluster]
    if not named:
        if namespace:
            raise await no_cluster(meta, namespace, cluster)
        hint = near_hint(cluster, (item["metadata"]["name"] for item in items), "kok get clusters -A lists them")
        raise KokError(ErrorCode.NotFound, f"there is no Cluster {cluster} anywhere", hint)
    return named

"""Where the API server of a Cluster is found: from its spec and its Service's status, host names resolved. Reads DNS, changes nothing; called by observe."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

from operators.api.cluster import Cluster, EndpointType
from operators.domain.plane.inputs import AGENTS_PORT, APISERVER_PORT, Names, PlaneEndpoint, PlaneTunnel
from operators.domain.plane.view import Unknown
from operators.ports.kube import Manifest

RESOLVE_SECONDS = 5.0


async def endpoint_of(cluster: Cluster, service: Manifest | None) -> tuple[PlaneEndpoint | Unknown | None, str]:
    """The endpoint, or None and why it is not there yet; Unknown if its name cannot be resolved."""
    wish = cluster.spec.endpoint
    if wish.type is EndpointType.NodePort:
        return await _all_resolved(wish.host, wish.additional_hosts, wish.port or 0)
    if service is None:
        return None, f"Service {Names.of(cluster)['apiserver']} does not exist yet"
    port = wish.port or APISERVER_PORT
    if wish.type is EndpointType.ClusterIP:
        address = str(service["spec"].get("clusterIP") or "")
        return PlaneEndpoint(wish.host or Names.of(cluster).apiserver_host, port, (address,)), ""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if not ingress:
        name, namespace = Names.of(cluster)["apiserver"], cluster.metadata.namespace
        return None, f"waits until a load balancer gives Service {namespace}/{name} an address (status.loadBalancer.ingress)"
    return await _balanced(wish.host, port, ingress)


def tunnel_of(cluster: Cluster, endpoint: PlaneEndpoint | None, service: Manifest | None) -> tuple[PlaneTunnel | None, str]:
    """Where agents find the konnectivity server, by the Service that is theirs; None or without a port, and why, while that cannot be said."""
    wish, name = cluster.spec.endpoint, f"{cluster.metadata.namespace}/{Names.of(cluster)['konnectivity-agents']}"
    if wish.type is EndpointType.NodePort:
        ports: list[dict[str, Any]] = (service or {"spec": {}})["spec"].get("ports") or [{}]
        port = wish.konnectivity_port or ports[0].get("nodePort")
        return (PlaneTunnel(endpoint.host, port) if endpoint else None), "" if port else f"Service {name} has no node port yet"
    if service is None:
        return None, f"Service {name} does not exist yet"
    port = wish.konnectivity_port or AGENTS_PORT
    if wish.type is EndpointType.ClusterIP:
        return PlaneTunnel(str(service["spec"].get("clusterIP") or ""), port), ""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if not ingress:
        return None, f"waits until a load balancer gives Service {name} an address (status.loadBalancer.ingress)"
    return PlaneTunnel(str(ingress[0].get("ip") or ingress[0].get("hostname") or ""), port), ""


async def _balanced(host: str, port: int, ingress: list[dict[str, Any]]) -> tuple[PlaneEndpoint | Unknown, str]:
    """The host that people chose, else what the load balancer says; the addresses are always the load balancer's."""
    names = [each.get("ip") or each.get("hostname") or "" for each in ingress]
    found, _ = await _resolved(names[0], port)
    if isinstance(found, Unknown):
        return found, ""
    addresses = tuple(sorted({name for name in names if _is_address(name)})) or found.addresses
    return PlaneEndpoint(host or names[0], port, addresses), ""


async def _all_resolved(host: str, more: tuple[str, ...], port: int) -> tuple[PlaneEndpoint | Unknown, str]:
    """The endpoint at `host`, with the addresses of all of them."""
    found = [(await _resolved(each, port))[0] for each in (host, *more)]
    if unknown := next((each for each in found if isinstance(each, Unknown)), None):
        return unknown, ""
    addresses = {address for each in found if isinstance(each, PlaneEndpoint) for address in each.addresses}
    return PlaneEndpoint(host, port, tuple(sorted(addresses))), ""


async def _resolved(host: str, port: int) -> tuple[PlaneEndpoint | Unknown, str]:
    if _is_address(host):
        return PlaneEndpoint(host, port, (host,)), ""
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        return Unknown(f"spec.endpoint.host: {host} cannot be resolved ({error or 'no answer'}); nodes need its address"), ""
    return PlaneEndpoint(host, port, tuple(sorted({str(each[4][0]) for each in found}))), ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True

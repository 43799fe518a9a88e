"""Where agents of konnectivity are told to dial, by the type of the endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from operators.cluster_operator.cluster.births import takes_any_node_port, wants_node_port
from operators.cluster_operator.cluster.endpoint import endpoint_of, tunnel_of
from operators.domain.plane.inputs import PlaneEndpoint, PlaneTunnel
from operators.domain.plane.view import Unknown
from tests.unit.operators.domain.plane.rendered import a_cluster

AT = PlaneEndpoint("10.89.0.2", 31443, ("10.89.0.2",))
NODE_PORT = {"type": "NodePort", "host": "10.89.0.2", "port": 31443}


def service(**more: Any) -> dict[str, Any]:
    return {"kind": "Service", "spec": {"ports": [{"port": 8132, **more.pop("port", {})}], **more.pop("spec", {})}, **more}


INGRESS = service(status={"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}})


@pytest.mark.parametrize(
    ("endpoint", "found", "tunnel", "waits"),
    [
        (NODE_PORT, service(port={"nodePort": 32100}), PlaneTunnel("10.89.0.2", 32100), ""),
        (NODE_PORT, None, PlaneTunnel("10.89.0.2", None), "Service demo/demo-konnectivity-agents has no node port yet"),
        ({**NODE_PORT, "konnectivityPort": 30132}, None, PlaneTunnel("10.89.0.2", 30132), ""),
        ({"type": "ClusterIP"}, service(spec={"clusterIP": "10.96.0.7"}), PlaneTunnel("10.96.0.7", 8132), ""),
        ({"type": "ClusterIP"}, None, None, "Service demo/demo-konnectivity-agents does not exist yet"),
        ({"type": "LoadBalancer"}, INGRESS, PlaneTunnel("lb.example.org", 8132), ""),
        ({"type": "LoadBalancer", "konnectivityPort": 443}, INGRESS, PlaneTunnel("lb.example.org", 443), ""),
        ({"type": "LoadBalancer"}, service(), None, "waits until a load balancer gives Service demo/demo-konnectivity-agents an address"),
    ],
)
def test_should_tell_agents_where_to_dial(
    endpoint: dict[str, Any], found: dict[str, Any] | None, tunnel: PlaneTunnel | None, waits: str
) -> None:
    said, why = tunnel_of(a_cluster(endpoint=endpoint), AT, found)

    assert said == tunnel
    assert why.startswith(waits)
    assert bool(why) == bool(waits)


async def test_should_lead_to_every_meta_address() -> None:
    wish = {**NODE_PORT, "additionalHosts": ["10.89.0.4", "10.89.0.3"], "konnectivityPort": 31444}

    found, _ = await endpoint_of(a_cluster(endpoint=wish), None)

    assert found == PlaneEndpoint("10.89.0.2", 31443, ("10.89.0.2", "10.89.0.3", "10.89.0.4"))


async def test_should_say_which_further_address_cannot_be_resolved() -> None:
    wish = {**NODE_PORT, "additionalHosts": ["nobody.invalid"], "konnectivityPort": 31444}

    found, _ = await endpoint_of(a_cluster(endpoint=wish), None)

    assert isinstance(found, Unknown)
    assert "nobody.invalid" in found.reason


@pytest.mark.parametrize(
    ("kind", "spec", "any_port", "named"),
    [
        ("Service", {"type": "NodePort", "ports": [{"port": 8132}]}, True, False),
        ("Service", {"type": "NodePort", "ports": [{"port": 8132, "nodePort": 30132}]}, False, True),
        ("Service", {"type": "ClusterIP", "ports": [{"port": 8132}]}, False, False),
        ("Deployment", {"type": "NodePort"}, False, False),
    ],
)
def test_should_tell_a_service_that_names_its_node_port_from_one_that_takes_any(
    kind: str, spec: dict[str, Any], any_port: bool, named: bool
) -> None:
    assert (takes_any_node_port({"kind": kind, "spec": spec}), wants_node_port({"kind": kind, "spec": spec})) == (any_port, named)

"""The way into the business network: what is shown of it, and that nothing waits for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.domain.plane.certificates import leaf_specs
from operators.domain.plane.desired import components_of, desired_plane, inside
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.inputs import PlaneTunnel
from operators.domain.plane.ladder import next_step
from operators.domain.plane.status import status_of
from operators.domain.plane.steps import ApplyObjects, Done
from operators.domain.plane.tunnel import tunnel_verdict
from operators.domain.plane.view import BusinessApi, Plan, PlaneView, Unknown, Workload
from tests.unit.operators.domain.plane.planes import COMPONENTS, INSIDE, manifest, right, up
from tests.unit.operators.domain.plane.rendered import a_cluster, a_package, some_inputs, templates

SERVER = manifest("Deployment", "demo-konnectivity", "konnectivity", replicas=1)


def a_view(*, ready: int = 1, agents: tuple[int, int] = (2, 2), **changes: Any) -> PlaneView:
    plan = Plan({**COMPONENTS, "konnectivity": (SERVER,)}, {}, INSIDE)
    server = Workload("konnectivity", wanted=1, ready=ready, settled=True)
    view = right(package=a_package(), plan=plan, business=BusinessApi("1.35.4", agents=agents))
    objects = {**view.objects, ObjectId.of(SERVER): SERVER}
    return replace(view, objects=objects, workloads={**view.workloads, "konnectivity": server}, **changes)


@pytest.mark.parametrize(
    ("view", "status", "reason", "words"),
    [
        (a_view(), "True", "Connected", "agents connected on 2 of 2 nodes, to 1 of 1 servers"),
        (a_view(agents=(1, 2)), "False", "AgentsMissing", "on 1 of 2 nodes"),
        (a_view(ready=0), "False", "AgentsMissing", "to 0 of 1 servers"),
        (a_view(ready=0, agents=(0, 0)), "Unknown", "NoNodes", "there is no node yet"),
        (a_view(business=Unknown("it does not answer")), "Unknown", "NotRead", "it does not answer"),
        (a_view(tunnel_waits="waits until a load balancer"), "False", "Missing", "waits until a load balancer"),
        (replace(a_view(), workloads={"apiserver": up("apiserver")}), "False", "Missing", "does not exist yet"),
        (right(package=a_package(konnectivity=False)), "True", "NotAsked", "brings no konnectivity"),
        (right(package=None), "Unknown", "NotRead", "has not been read"),
    ],
)
def test_should_show_the_tunnel(view: PlaneView, status: str, reason: str, words: str) -> None:
    found = tunnel_verdict(view)

    assert (found[0].value, found[1]) == (status, reason)
    assert words in found[2]


def test_should_show_what_keeps_the_server_from_running() -> None:
    view = a_view()
    broken = Workload("konnectivity", wanted=1, ready=0, settled=True, trouble="pod x waits: ErrImagePull")

    found = tunnel_verdict(replace(view, workloads={**view.workloads, "konnectivity": broken}))

    assert found[1] == "NotUp"
    assert "ErrImagePull" in found[2]


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (a_view(), ""),
        (a_view(ready=0, agents=(0, 0)), "agents run on nodes, and there is no node yet"),
        (a_view(ready=0), "agents connected on 2 of 2 nodes, to 0 of 1 servers"),
    ],
)
def test_should_say_of_the_component_what_the_condition_says(view: PlaneView, words: str) -> None:
    components = status_of(view, next_step(view), None)["components"]

    assert next(each for each in components if each["name"] == "konnectivity")["message"] == words


@pytest.mark.parametrize("view", [a_view(ready=0, agents=(0, 0)), a_view(ready=0), a_view(tunnel_waits="no address")])
def test_should_call_a_plane_done_without_its_tunnel(view: PlaneView) -> None:
    assert isinstance(next_step(view), Done)


def test_should_put_the_servers_deployment_back() -> None:
    view = a_view()
    changed = {
        each: {**found, "spec": {"replicas": 7}} if each.name == "demo-konnectivity" else found for each, found in view.objects.items()
    }

    step = next_step(replace(view, objects=changed))

    assert isinstance(step, ApplyObjects)
    assert [each["metadata"]["name"] for each in step.objects] == ["demo-konnectivity"]


def test_should_render_nothing_of_konnectivity_for_a_package_without_it() -> None:
    inputs = some_inputs(a_cluster(), a_package(konnectivity=False))
    plane = desired_plane(inputs, templates())
    text = str([plane.components, inside(inputs, templates())])

    assert "konnectivity" not in components_of(inputs.cluster, inputs.package)
    assert "konnectivity" not in text
    assert "egress-selector" not in text
    assert "'port': 10250" in text, "its API server reaches kubelets by itself"


def test_should_render_agents_when_their_port_is_known() -> None:
    known = some_inputs()
    assert known.tunnel is not None

    def agents(tunnel: PlaneTunnel | None) -> list[str]:
        manifests = inside(replace(known, tunnel=tunnel), templates())
        return [each["kind"] for each in manifests if each["metadata"]["name"] == "konnectivity-agent"]

    assert agents(None) == agents(PlaneTunnel("10.89.0.2", None)) == []
    assert agents(known.tunnel) == ["ServiceAccount", "DaemonSet"]


def test_should_render_the_server_before_the_port_is_known() -> None:
    plane = desired_plane(replace(some_inputs(), tunnel=PlaneTunnel("10.89.0.2", None)), templates())

    assert "konnectivity" in plane.components
    assert not plane.waiting


def test_should_lead_nodes_through_their_own_proxy_where_there_are_several_meta_addresses() -> None:
    at = {"type": "NodePort", "host": "10.89.0.2", "port": 31443, "konnectivityPort": 31444}
    one = str(inside(some_inputs(a_cluster(endpoint=at)), templates()))
    several = some_inputs(a_cluster(endpoint={**at, "additionalHosts": ["10.89.0.3"]}))
    text = str(inside(several, templates()))
    leaves = {spec.secret: spec for spec in leaf_specs(several)}

    for words in ("https://127.0.0.1:6443", "--proxy-server-host=127.0.0.1", "--proxy-server-port=8132"):
        assert words in text
        assert words not in one
    assert {"127.0.0.1", "10.89.0.2", "10.89.0.3"} <= set(leaves["demo-apiserver-tls"].ip_addresses)
    assert "127.0.0.1" in leaves["demo-konnectivity-tls"].ip_addresses


@pytest.mark.parametrize(("masters", "servers"), [(1, 1), (2, 2), (5, 2)])
def test_should_run_two_servers_at_most_and_tell_agents_of_two(masters: int, servers: int) -> None:
    plane = desired_plane(some_inputs(a_cluster(masters={"replicas": masters})), templates())
    (deployment,) = (each for each in plane.components["konnectivity"] if each["kind"] == "Deployment")

    assert deployment["spec"]["replicas"] == servers
    assert "--server-count=2" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]

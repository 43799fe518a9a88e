"""Whose a node port is, and when a plane goes on without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.domain.plane import steps
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.ladder import next_step
from operators.domain.plane.node_ports import first_holder, free_to_begin, is_wished, own_url, refused_ports, words
from operators.domain.plane.view import Plan, TakenPort
from operators.errors import ErrorCode
from tests.unit.operators.domain.plane import planes
from tests.unit.operators.domain.plane.planes import right

REFUSAL = 'Service "demo-apiserver" is invalid: spec.ports[0].nodePort: Invalid value: 31443: provided port is already allocated'
HELD = TakenPort("spec.endpoint.port", 31443, "other", "shop-apiserver", "shop")
OWN = ObjectId("v1", "Service", "demo", "demo-apiserver")


def service(namespace: str, name: str, *ports: int, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"nodePort": port} for port in ports], **spec}}


def test_should_take_a_refusal_for_its_ports_only_by_its_words() -> None:
    wish = {"type": "NodePort", "host": "10.0.0.1", "port": 31443, "konnectivityPort": 31444}
    cluster = planes.cluster(endpoint=wish)
    assert refused_ports(cluster, service("demo", "demo-apiserver", 31443), REFUSAL) == (TakenPort("spec.endpoint.port", 31443),)
    assert refused_ports(cluster, service("demo", "demo-agents", 31444), REFUSAL) == (TakenPort("spec.endpoint.konnectivityPort", 31444),)
    assert refused_ports(cluster, service("demo", "demo-apiserver", 31443), "the provided port is not in the valid range") == ()


def test_should_find_the_holder_and_never_take_itself_for_it() -> None:
    wanted = (TakenPort("spec.endpoint.port", 31443),)
    own = service("demo", "demo-apiserver", 31443)
    other = service("other", "shop-apiserver", 30001, 31443, labels={"kok.dev/cluster": "shop"})
    assert first_holder(wanted, (own, service("x", "y", 30000), other), OWN) == HELD
    assert first_holder(wanted, (own,), OWN) is None
    checked = first_holder(wanted, (service("x", "balanced", 30000, healthCheckNodePort=31443),), OWN)
    assert checked is not None
    assert checked.name == "balanced"


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (
            HELD,
            (
                "spec.endpoint.port: node port 31443 is taken by Cluster other/shop (Service other/shop-apiserver)",
                "set another spec.endpoint.port",
            ),
        ),
        (replace(HELD, cluster=""), ("is taken by Service other/shop-apiserver;",)),
        (TakenPort("spec.endpoint.port", 31443), ("no Service has it now", "within minutes")),
    ],
)
def test_should_name_field_value_holder_and_next_step(taken: TakenPort, said: tuple[str, ...]) -> None:
    assert [each for each in said if each not in words(taken)] == []


def test_should_make_nothing_for_a_plane_that_never_lived_while_its_port_is_taken() -> None:
    view = planes.never_lived(
        cluster=planes.cluster(), namespace_label="demo", release=planes.release(), roots=right().roots, taken_port=HELD
    )
    step = next_step(view)
    assert isinstance(step, steps.Stall)
    assert (step.code, step.reason) == (ErrorCode.PortTaken, words(HELD))
    assert isinstance(next_step(replace(view, taken_port=None)), steps.ApplyObjects), "positive control"


def test_should_let_a_plane_that_never_lived_move_a_port_from_one_field_to_the_other() -> None:
    view = planes.never_lived(cluster=planes.cluster(), namespace_label="demo", release=planes.release(), roots=right().roots)
    metadata = view.cluster.metadata
    own = TakenPort("spec.endpoint.port", 31443, metadata.namespace or "", f"{metadata.name}-konnectivity-agents", metadata.name)
    assert free_to_begin(replace(view, taken_port=own)) is None, "its other Service gives the port up by being applied"
    assert free_to_begin(replace(view, taken_port=replace(own, cluster="another"))), "positive control"


def test_should_forget_a_refusal_whose_port_is_wished_in_another_field() -> None:
    swapped = planes.cluster(endpoint={"type": "NodePort", "host": "10.0.0.1", "port": 31999, "konnectivityPort": 31443})
    assert not is_wished(swapped, HELD)
    assert is_wished(swapped, replace(HELD, field="spec.endpoint.konnectivityPort"))


def wishing(port: int) -> dict[str, Any]:
    """A plane that lives, whose Service has 31443 and shall have another port."""
    had, shall = (service("demo", "demo-apiserver", each) for each in (31443, port))
    objects = {**right().objects, OWN: had}
    stateful = planes.COMPONENTS["etcd"][1:]  # without its Service, whose ports are no ports
    return {"objects": objects, "plan": Plan({**planes.COMPONENTS, "etcd": stateful, "endpoint": (shall,)}, {}, planes.INSIDE)}


def test_should_keep_the_masters_of_a_plane_well_whose_new_port_is_taken() -> None:
    changed = wishing(31999)
    taken = replace(HELD, port=31999)
    stalled = next_step(right(**changed, taken_port=taken))
    assert isinstance(stalled, steps.Stall)
    assert stalled.code is ErrorCode.PortTaken
    gone = {key: each for key, each in changed["objects"].items() if (key.kind, key.name) != ("Deployment", "demo-scheduler")}
    assert isinstance(next_step(right(**{**changed, "objects": gone}, taken_port=taken)), steps.ApplyObjects)
    tried = next_step(right(**changed))
    assert isinstance(tried, steps.ApplyObjects)
    assert [each["kind"] for each in tried.objects] == ["Service"], "positive control: it is what differs"


@pytest.mark.parametrize(("ports", "shown"), [((31443,), "https://10.0.0.1:31443"), ((30000,), "")])
def test_should_show_an_address_only_if_it_is_its_own(ports: tuple[int, ...], shown: str) -> None:
    assert own_url(right(objects={OWN: service("demo", "demo-apiserver", *ports)})) == shown
    assert own_url(right(objects={})) == ""

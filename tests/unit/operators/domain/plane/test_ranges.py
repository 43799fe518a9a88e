"""No plane is made whose nodes would take the API server's address for a pod's or a Service's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.api.cluster import Network
from operators.domain.plane.inputs import PlaneEndpoint
from operators.domain.plane.ladder import reachable_ranges
from operators.domain.plane.ranges import overlap
from operators.domain.plane.steps import Stall
from operators.errors import ErrorCode
from tests.unit.operators.domain.plane import planes

NETWORK = Network(pod_cidr="10.245.0.0/16", service_cidr="10.97.0.0/16")


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ((), ("", "")),
        (("10.89.0.2",), ("", "")),
        (("10.89.0.2", "10.245.255.255"), ("podCIDR", "10.245.255.255")),
        (("10.97.0.0",), ("serviceCIDR", "10.97.0.0")),
        (("10.246.0.0", "10.96.255.255"), ("", "")),
    ],
)
def test_should_find_the_address_that_lies_in_a_range(addresses: tuple[str, ...], expected: tuple[str, str]) -> None:
    assert overlap(NETWORK, addresses) == expected


def test_should_stall_before_the_plane_is_made_and_never_after() -> None:
    inside = PlaneEndpoint("api.example", 31443, ("10.245.0.9",))
    new = replace(planes.right(), release=None, endpoint=inside)
    step = reachable_ranges(new)
    assert isinstance(step, Stall)
    assert step.code is ErrorCode.NetworkOverlap
    assert "spec.network.podCIDR 10.245.0.0/16 holds 10.245.0.9, the address of spec.endpoint.host api.example" in step.reason
    assert reachable_ranges(replace(new, endpoint=PlaneEndpoint("api.example", 31443, ("10.89.0.2",)))) is None
    assert reachable_ranges(replace(new, endpoint=None)) is None
    assert reachable_ranges(replace(new, release=planes.release())) is None, "a plane that lives is repaired all the same"

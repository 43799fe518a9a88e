"""Which chains of package versions are allowed: a table of cases, and against a search through everything for invented catalogues."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.domain.plane.paths import KUBELET_SKEW, Kubelet, Package, Path, Refused, forbidden, plan_path, too_new, version_of


def a_package(kubernetes: str, etcd: str = "3.6.8", name: str = "", made: str = "") -> Package:
    return Package(name or f"k-{kubernetes}-{etcd}", version_of(kubernetes), version_of(etcd), made)


CATALOGUE = [a_package(version) for version in ("1.33.13", "1.34.2", "1.34.4", "1.35.3", "1.35.4")]


def go(start: str, goal: str, *, known: list[Package] | None = None, kubelets: dict[str, str] | None = None) -> Path | Refused:
    nodes = [Kubelet(node, version_of(version)) for node, version in (kubelets or {}).items()]
    return plan_path(a_package(*start.split("/")), a_package(*goal.split("/")), CATALOGUE if known is None else known, nodes)


@pytest.mark.parametrize(
    ("start", "goal", "through"),
    [
        ("1.35.3", "1.35.4", []),
        ("1.35.4", "1.35.3", []),
        ("1.34.4", "1.35.4", []),
        ("1.35.4", "1.34.4", []),
        ("1.33.13", "1.35.4", ["k-1.34.4-3.6.8"]),
        ("1.35.4", "1.33.13", ["k-1.34.4-3.6.8"]),
    ],
)
def test_should_go_one_minor_at_a_time_through_the_highest_patch(start: str, goal: str, through: list[str]) -> None:
    assert go(start, goal) == Path((*through, f"k-{goal}-3.6.8"))


def test_should_need_no_hop_to_where_it_is() -> None:
    assert go("1.35.4", "1.35.4") == Path(())


def test_should_take_the_newer_of_two_alike() -> None:
    old, new = (
        a_package("1.34.4", name="b-old", made="2026-01-01T00:00:00Z"),
        a_package("1.34.4", name="a-new", made="2026-02-01T00:00:00Z"),
    )
    assert go("1.33.13", "1.35.4", known=[old, new]) == Path(("a-new", "k-1.35.4-3.6.8"))


def test_should_move_etcd_on_its_own_before_kubernetes() -> None:
    known = [a_package("1.34.4", "3.5.26"), a_package("1.34.4", "3.6.8"), a_package("1.35.4", "3.6.8")]
    assert go("1.34.4/3.5.26", "1.35.4/3.6.8", known=known) == Path(("k-1.34.4-3.6.8", "k-1.35.4-3.6.8"))


@pytest.mark.parametrize(
    ("start", "goal", "says", "nearest"),
    [
        ("1.33.13", "1.36.1", "no ClusterPackageVersion of Kubernetes 1.34 and 1.35", "put k-1.33.13-3.6.8 back"),
        ("1.34.4/3.5.26", "1.35.4/3.6.8", "etcd's minor is a change of its own", "put k-1.34.4-3.5.26 back"),
        ("1.35.4/3.6.8", "1.35.4/3.5.26", "never goes back a minor", "put k-1.35.4-3.6.8 back"),
        ("1.34.4/3.5.20", "1.34.4/3.6.8", "3.6 is entered from 3.5.26 on", "put k-1.34.4-3.5.20 back"),
        ("1.34.4/3.4.30", "1.34.4/3.6.8", "etcd changes one minor at a time", "put k-1.34.4-3.4.30 back"),
        ("1.35.4", "2.0.0", "different worlds", "put k-1.35.4-3.6.8 back"),
    ],
)
def test_should_name_the_rule_that_refuses(start: str, goal: str, says: str, nearest: str) -> None:
    refused = go(start, goal, known=[])
    assert isinstance(refused, Refused)
    assert says in refused.reason
    assert refused.reason.endswith(nearest)


def test_should_name_the_nearest_that_is_allowed() -> None:
    refused = go("1.33.13", "1.37.0")
    assert isinstance(refused, Refused)
    assert "no ClusterPackageVersion of Kubernetes 1.36 that leads there" in refused.reason
    assert refused.reason.endswith("the nearest that is allowed is k-1.35.4-3.6.8")


def test_should_leave_no_kubelet_too_far_behind() -> None:
    refused = go("1.33.13", "1.35.4", kubelets={"n-1": "1.34.4", "n-2": "1.31.9"})
    assert isinstance(refused, Refused)
    assert "node n-2 runs kubelet 1.31.9, more than 3 minors behind Kubernetes 1.35" in refused.reason
    assert "the nearest that is allowed is k-1.34.4-3.6.8" in refused.reason
    assert isinstance(go("1.33.13", "1.35.4", kubelets={"n-1": "1.32.0"}), Path)
    assert isinstance(go("1.35.3", "1.35.4", kubelets={"n-1": "1.30.0"}), Refused), "a patch up leaves it behind too"
    assert isinstance(go("1.35.4", "1.34.4", kubelets={"n-1": "1.30.0"}), Path), "down brings it nearer"


def test_should_find_the_kubelet_that_is_newer_than_an_api_server_may_have() -> None:
    nodes = [Kubelet("n-1", (1, 34, 4)), Kubelet("n-2", (1, 35, 3))]
    assert too_new(nodes, (1, 34)) == nodes[1]
    assert too_new(nodes, (1, 35)) is None
    assert too_new([], (1, 35)) is None


@pytest.mark.parametrize(
    ("text", "numbers"), [("1.35.4", (1, 35, 4)), ("3.6.8-0", (3, 6, 8)), ("1.34.0+kok", (1, 34, 0)), ("1.35", (1, 35, 0))]
)
def test_should_read_versions(text: str, numbers: tuple[int, int, int]) -> None:
    assert version_of(text) == numbers


some_packages = st.lists(
    st.builds(
        a_package,
        st.sampled_from([f"1.{minor}.{patch}" for minor in (33, 34, 35, 36) for patch in (1, 4)]),
        st.sampled_from(["3.5.25", "3.5.26", "3.6.8"]),
    ),
    min_size=2,
    max_size=7,
    unique_by=lambda package: package.name,
)


@given(some_packages, st.lists(st.sampled_from(["1.30.1", "1.32.0", "1.33.0", "1.35.0"]), max_size=3))
def test_should_find_a_path_exactly_when_there_is_one(known: list[Package], versions: list[str]) -> None:
    start, goal = known[0], known[1]
    kubelets = [Kubelet(f"n-{number}", version_of(version)) for number, version in enumerate(versions)]
    path = plan_path(start, goal, known, kubelets)
    if isinstance(path, Refused):
        assert start.name in path.reason
        unbounded = plan_path(start, goal, known)
        assert isinstance(unbounded, Refused) is not _reaches(start, goal, known)
        assert not isinstance(unbounded, Refused) or not _reaches(start, goal, known)
        return
    chain = [start, *(next(each for each in known if each.name == name) for name in path.packages)]
    assert chain[-1] == goal
    assert all(forbidden(before, after) == "" for before, after in pairwise(chain))
    low, high = sorted((start.kubernetes, goal.kubernetes))
    assert all(low <= each.kubernetes <= high for each in chain)
    ups = [each for each in chain[1:] if each.kubernetes > start.kubernetes]
    assert all(each.kubernetes[1] - node.version[1] <= KUBELET_SKEW for each in ups for node in kubelets)


def _reaches(start: Package, goal: Package, known: list[Package]) -> bool:
    """Everything that can be reached, without any order or cleverness."""
    low, high = sorted((start.kubernetes, goal.kubernetes))
    there, before = {start}, 0
    while len(there) != before:
        before = len(there)
        there |= {each for each in known for near in there if low <= each.kubernetes <= high and not forbidden(near, each)}
    return goal in there

"""A minor up and back on the real thing, by editing one field, while a client asks all the time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Manifest, wait_until
from meta_cluster.demo.stories import kok
from tests.e2e.ground import Fleet
from tests.e2e.traffic import Traffic

NAME, PORT = "upgrade", 31466
OLDEST, OLD, NEW = "1.33.13", "1.34.4", "1.35.4"
MINUTES = 240.0


@pytest.fixture(scope="module")
def packages(fleet: Fleet) -> dict[str, str]:
    """Kubernetes version -> the newest package version of it in the lab."""
    kok("lab", "up", "--with", OLD)
    return newest_of(fleet)


@pytest.fixture(scope="module")
def three_minors(fleet: Fleet) -> dict[str, str]:
    """The same, with the oldest: its binaries take minutes to build, once."""
    kok("lab", "up", "--with", OLD, "--with", OLDEST)
    return newest_of(fleet)


def newest_of(fleet: Fleet) -> dict[str, str]:
    found = fleet.meta.items("clusterpackageversions.kok.dev")
    newest = sorted(found, key=lambda each: each["metadata"]["creationTimestamp"])
    return {each["spec"]["kubernetesVersion"]: each["metadata"]["name"] for each in newest}


def make(fleet: Fleet, package: str, *, replicas: int) -> None:
    cluster = wish.cluster(package, host=fleet.lab["node"], port=PORT)
    cluster["metadata"] |= {"name": NAME, "namespace": NAME}
    del cluster["spec"]["machineAccess"]
    cluster["spec"] |= {"deletionProtection": False, "upgrade": {"soakSeconds": 0}, "masters": {"replicas": replicas}}
    fleet.meta.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}, cluster)
    wait_until("Ready", lambda: at(fleet, package), timeout=MINUTES, tell=lambda: message(fleet))


@pytest.fixture
def gone(fleet: Fleet) -> Iterator[None]:
    """The story's cluster is deleted whatever came of it."""
    yield
    fleet.meta.run("delete", "clusters.kok.dev", NAME, "-n", NAME, "--ignore-not-found", "--timeout=120s", timeout=130)
    fleet.meta.run("delete", "namespace", NAME, "--ignore-not-found", timeout=60)


def change(fleet: Fleet, package: str) -> float:
    """Edit the one field and wait until the whole plane is there; seconds."""
    began = time.monotonic()
    fleet.meta.run("patch", "clusters.kok.dev", NAME, "-n", NAME, "--type=merge", "-p", json.dumps({"spec": {"packageVersion": package}}))
    wait_until(f"at {package}", lambda: at(fleet, package), timeout=MINUTES, tell=lambda: message(fleet))
    return time.monotonic() - began


def at(fleet: Fleet, package: str) -> bool:
    release = (fleet.meta.get("clusterreleases.kok.dev", NAME, "-n", NAME) or {}).get("spec", {})
    ready = fleet.meta.condition("clusters.kok.dev", NAME, "Ready", namespace=NAME)
    return (release.get("reached") or package) == package and "hop" not in release and ready.get("status") == "True"


def message(fleet: Fleet) -> str:
    return str(((fleet.meta.get("clusters.kok.dev", NAME, "-n", NAME) or {}).get("status") or {}).get("message"))


def kubeconfig(fleet: Fleet) -> str:
    return kok("kubeconfig", NAME, "-n", NAME, f"--kubeconfig={fleet.lab['kubeconfig']}")


def names_inside(fleet: Fleet, traffic: Traffic) -> set[str]:
    connection = traffic._open()
    _, content, _ = traffic._ask(connection, "GET", "/api/v1/namespaces/default/configmaps?labelSelector=traffic")
    items: list[Manifest] = json.loads(content)["items"]
    return {each["metadata"]["name"] for each in items}


@pytest.mark.slow
@pytest.mark.usefixtures("gone")
def test_should_go_a_minor_up_and_back_without_a_failed_request(fleet: Fleet, packages: dict[str, str]) -> None:
    """Two API servers; every object that was written meanwhile is there at the end."""
    make(fleet, packages[OLD], replicas=2)
    with Traffic(kubeconfig(fleet)) as traffic:
        up = change(fleet, packages[NEW])
        back = change(fleet, packages[OLD])
    print(f"{OLD} to {NEW} in {up:.0f} s, back in {back:.0f} s; {traffic}")
    assert traffic.failures == []
    assert traffic.behind == [], "watches that missed a write"
    assert names_inside(fleet, traffic) == set(traffic.written)


def versions_passed(fleet: Fleet, package: str) -> list[str]:
    """Edit the one field; the packages that the plane had reached on its way, in order, until it is there."""
    passed: list[str] = []

    def there() -> bool:
        reached = str((fleet.meta.get("clusterreleases.kok.dev", NAME, "-n", NAME) or {}).get("spec", {}).get("reached", ""))
        if reached and reached not in passed[-1:]:
            passed.append(reached)
        return reached == package and at(fleet, package)

    fleet.meta.run("patch", "clusters.kok.dev", NAME, "-n", NAME, "--type=merge", "-p", json.dumps({"spec": {"packageVersion": package}}))
    wait_until(f"at {package}", there, timeout=2 * MINUTES, tell=lambda: message(fleet))
    return passed


@pytest.mark.older
@pytest.mark.slow
@pytest.mark.usefixtures("gone")
def test_should_go_two_minors_up_and_back_each_reached_before_the_next(fleet: Fleet, three_minors: dict[str, str]) -> None:
    """One edit each way; turned round once in the middle of the last hop."""
    oldest, old, new = (three_minors[version] for version in (OLDEST, OLD, NEW))
    make(fleet, oldest, replicas=2)
    with Traffic(kubeconfig(fleet)) as traffic:
        assert versions_passed(fleet, new) == [oldest, old, new]
        assert versions_passed(fleet, oldest) == [new, old, oldest]
        fleet.meta.run("patch", "clusters.kok.dev", NAME, "-n", NAME, "--type=merge", "-p", json.dumps({"spec": {"packageVersion": new}}))
        wait_until("in the second hop", lambda: hop_from(fleet) == old, timeout=MINUTES, every=0.2, tell=lambda: message(fleet))
        assert versions_passed(fleet, oldest)[-2:] == [old, oldest]
    print(f"{OLDEST} to {NEW} and back, twice; {traffic}")
    assert traffic.failures == []
    assert names_inside(fleet, traffic) == set(traffic.written)


def hop_from(fleet: Fleet) -> str:
    """The lower end of the hop that is under way."""
    release = (fleet.meta.get("clusterreleases.kok.dev", NAME, "-n", NAME) or {}).get("spec", {})
    return str((release.get("hop") or {}).get("lower"))


@pytest.mark.slow
@pytest.mark.usefixtures("gone")
def test_should_see_failed_requests_when_api_servers_are_rolled_naively(fleet: Fleet, packages: dict[str, str]) -> None:
    """The positive control: all API server pods ended at once, without their time to say goodbye."""
    make(fleet, packages[NEW], replicas=2)
    with Traffic(kubeconfig(fleet)) as traffic:
        time.sleep(3)
        selector = f"kok.dev/cluster={NAME},app.kubernetes.io/component=apiserver"
        fleet.meta.run("delete", "pods", "-n", NAME, "-l", selector, "--grace-period=0", "--force", timeout=60)
        wait_until("serving again", lambda: at(fleet, packages[NEW]), timeout=MINUTES)
    assert traffic.failures, "a naive roll must be noticed"

"""Rollouts on real planes: three clusters, one of them with real nodes; versions that are good, that do not start, that start and make no pods.

The bad versions are real: an API server that its flags keep from starting, and one whose admission plugin makes every pod pull an image that nobody
can pull here.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Kubectl, Manifest, wait_until
from meta_cluster.demo.stories import kok
from tests.e2e import prometheus_in_a_pod
from tests.e2e.breakers import close_breaker, phase_of_breaker
from tests.e2e.ground import KOK, Fleet, leader_of

pytestmark = pytest.mark.slow

SMALL = ("train-1", "train-2")
DEMO = f"{wish.NAMESPACE}/{wish.CLUSTER}"
TRAIN = (*(f"{name}/{name}" for name in SMALL), DEMO)
MINUTES = 420.0
KILLS = 20
MOST_ROLLOUTS = 5
LONGEST_LIFE = 60.0
"""Seconds."""
OF_ONE_PLANE = "plane-upgrades-per-cluster"
"""The shipped budget whose breaker a bad rollout opens in the clusters that it reached."""
BUDGET = "train-story"
BUDGET_OF_NONE: Manifest = {
    "apiVersion": "kok.dev/v1alpha1",
    "kind": "OperationBudget",
    "metadata": {"name": BUDGET},
    "spec": {
        "operations": ["UpgradePlane"],
        "scope": {"per": "Fleet", "clusters": {"matchLabels": {"train": "yes"}}},
        "rate": {"count": 0, "windowSeconds": 3600},
        "onExceed": "TripBreaker",
        "breaker": {"coolDownSeconds": 3600},
        "reserve": {"rollback": {"rate": 1000}},
    },
}


@pytest.fixture(scope="module")
def train(fleet: Fleet) -> Iterator[Fleet]:
    """Two small planes beside the demo's, all three with the label train=yes."""
    package = fleet.lab["packageVersion"]
    for port, name in enumerate(SMALL, start=31471):
        cluster = wish.cluster(package, host=fleet.lab["node"], port=port)
        cluster["metadata"] |= {"name": name, "namespace": name, "labels": {"train": "yes"}}
        del cluster["spec"]["machineAccess"]
        cluster["spec"] |= {"deletionProtection": False, "upgrade": {"soakSeconds": 0}}
        fleet.meta.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, cluster)
    fleet.meta.run("label", "clusters.kok.dev", wish.CLUSTER, "-n", wish.NAMESPACE, "train=yes", "--overwrite")
    for key in TRAIN:
        wait_until(f"{key} is ready", lambda key=key: ready(fleet.meta, key), timeout=MINUTES)  # type: ignore[misc]
    yield fleet
    fleet.meta.run("label", "clusters.kok.dev", wish.CLUSTER, "-n", wish.NAMESPACE, "train-", timeout=60)
    for name in SMALL:
        fleet.meta.run("delete", "clusters.kok.dev", name, "-n", name, "--ignore-not-found", "--timeout=180s", timeout=190)
        fleet.meta.run("delete", "namespace", name, "--ignore-not-found", timeout=60)


def ready(meta: Kubectl, key: str) -> bool:
    namespace, name = key.split("/")
    return meta.condition("clusters.kok.dev", name, "Ready", namespace=namespace).get("status") == "True"


def versions(meta: Kubectl) -> dict[str, str]:
    """What every member is authorised to have."""
    found = {}
    for key in TRAIN:
        namespace, name = key.split("/")
        found[key] = (meta.get("clusterreleases.kok.dev", name, "-n", namespace) or {})["spec"]["current"]["packageVersion"]
    return found


def revisions(meta: Kubectl, key: str) -> list[str]:
    """UIDs of the API server's pods: who was never touched still has the same ones."""
    namespace, name = key.split("/")
    pods = meta.items("pods", "-n", namespace, "-l", f"kok.dev/cluster={name},app.kubernetes.io/component=apiserver")
    return sorted(pod["metadata"]["uid"] for pod in pods)


def variant(fleet: Fleet, word: str, **flags: str) -> str:
    """The lab's package version with other flags of the API server, under a new name."""
    base = fleet.meta.get("clusterpackageversions.kok.dev", fleet.lab["packageVersion"]) or {}
    spec = json.loads(json.dumps(base["spec"]))
    spec["components"]["apiserver"]["flags"] = {name.replace("_", "-"): value for name, value in flags.items()}
    name = f"train-{word}-{uuid4().hex[:6]}"
    fleet.meta.apply({"apiVersion": "kok.dev/v1alpha1", "kind": "ClusterPackageVersion", "metadata": {"name": name}, "spec": spec})
    return name


def rollout(fleet: Fleet, version: str, canary: str, **more: Any) -> str:
    """A FleetRollout as Git would bring it: the canary, then the rest."""
    name = f"{version}-{uuid4().hex[:4]}"
    stages = [
        {"name": "canary", "clusters": [canary], "soakSeconds": 60, "memberDeadlineSeconds": more.pop("deadline", 240)},
        {"name": "rest", "rest": True, "maxParallel": 2, "soakSeconds": 60},
    ]
    spec: Manifest = {
        "change": {"clusterPackageVersion": version},
        "selector": {"matchLabels": {"train": "yes"}},
        "stages": stages,
        "analysis": {"windowSeconds": 60},
        **more,
    }
    fleet.meta.apply({"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": name}, "spec": spec})
    return name


def status(fleet: Fleet, name: str) -> dict[str, Any]:
    return dict((fleet.meta.get("fleetrollouts.kok.dev", name) or {}).get("status") or {})


def reaches(fleet: Fleet, name: str, phase: str) -> dict[str, Any]:
    """The status once the rollout is in this phase."""
    wait_until(
        f"rollout {name} is {phase}",
        lambda: status(fleet, name).get("phase") == phase,
        timeout=MINUTES,
        every=1,
        tell=lambda: json.dumps(status(fleet, name)),
    )
    return status(fleet, name)


def back_at(fleet: Fleet, before: dict[str, str]) -> None:
    wait_until(
        "all are back at what they had",
        lambda: versions(fleet.meta) == before and all(ready(fleet.meta, key) for key in TRAIN),
        timeout=MINUTES,
        tell=lambda: str(versions(fleet.meta)),
    )


def test_should_bring_a_good_version_to_all_and_take_it_back_when_a_person_undoes_it(train: Fleet) -> None:
    before, good = versions(train.meta), variant(train, "good", v="1")
    began = time.monotonic()
    words = ["upgrade", "--to", good, "--selector", "train=yes", "--canary", TRAIN[0], "--soak", "60s", "--max-parallel", "2"]
    access = f"--kubeconfig={train.lab['kubeconfig']}"
    done = subprocess.run(
        [str(KOK), *words, "--name", good, "--follow", access], capture_output=True, text=True, timeout=MINUTES * 2, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(versions(train.meta).values()) == {good}
    assert status(train, good)["phase"] == "Good"
    print(f"good: three clusters in {time.monotonic() - began:.0f} s")
    kok("rollout", "undo", good, "--reason", "the story goes back", access)
    back_at(train, before)


def test_should_stop_a_version_that_does_not_start_at_the_canary_and_refuse_it_afterwards(train: Fleet) -> None:
    before, broken = versions(train.meta), variant(train, "broken", max_requests_inflight="-1")
    untouched = {key: revisions(train.meta, key) for key in TRAIN[1:]}
    shown = reaches(train, rollout(train, broken, TRAIN[0], deadline=60), "Bad")
    print(json.dumps(shown["stages"], indent=1))
    back_at(train, before)
    assert {key: revisions(train.meta, key) for key in TRAIN[1:]} == untouched, "nobody but the canary"
    refused = reaches(train, rollout(train, broken, TRAIN[1]), "Refused")
    assert "was found bad" in refused["message"]
    close_breaker(train, OF_ONE_PLANE, f"cluster {TRAIN[0]}")


def test_should_take_back_a_version_that_starts_but_makes_no_pods(train: Fleet) -> None:
    before = versions(train.meta)
    broken = variant(train, "nopods", enable_admission_plugins="NodeRestriction,AlwaysPullImages")
    untouched = {key: revisions(train.meta, key) for key in TRAIN[:2]}
    name = rollout(train, broken, DEMO)
    shown = reaches(train, name, "Bad")
    print(json.dumps(shown["stages"], indent=1))
    assert "pod creation" in shown["stages"][0]["message"]
    back_at(train, before)
    assert {key: revisions(train.meta, key) for key in TRAIN[:2]} == untouched, "nobody but the canary"
    check_record(train, name)
    close_breaker(train, OF_ONE_PLANE, f"cluster {DEMO}")


def check_record(fleet: Fleet, name: str) -> None:
    """What a person reads afterwards: the numbers, the window and the test."""
    told = json.loads(kok("rollout", "history", name, "-o", "json", f"--kubeconfig={fleet.lab['kubeconfig']}"))
    (end,) = [each for each in told if each["kind"] == "Rollout" and each["subject"] == name]
    print(json.dumps(end, indent=1))
    assert end["outcome"] == "Bad"
    verdicts = " ".join(end["verdicts"])
    assert re.search(r"pod creation \d+\.\d\d% -> \d+\.\d\d%.*n=\d+", verdicts), verdicts
    assert "judged over 60 s: difference in differences" in verdicts


def test_should_hold_and_say_so_when_pods_fail_on_all_clusters_alike(train: Fleet, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Not the change: a quota of no pods at all in the probe's namespace, of every cluster, during the soak."""
    before, good = versions(train.meta), variant(train, "alike", v="1")
    name = rollout(train, good, TRAIN[0])
    inside = [business(train, key, tmp_path_factory) for key in TRAIN]
    reaches(train, name, "Soaking")
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": "kok-probe"},
        "spec": {"hard": {"pods": "0"}},
    }
    try:
        for cluster in inside:
            cluster.apply(quota)
        held = reaches(train, name, "Holding")
        print(json.dumps(held, indent=1))
        assert versions(train.meta) == before | {TRAIN[0]: good}, "held, neither taken back nor gone on"
    finally:
        for cluster in inside:
            cluster.run("delete", "resourcequota", "none", "-n", "kok-probe", "--ignore-not-found")
    reaches(train, name, "Good")
    kok("rollout", "undo", name, "--reason", "the story goes back", f"--kubeconfig={train.lab['kubeconfig']}")
    back_at(train, before)


def test_should_hold_while_prometheus_is_gone_and_go_on_when_it_is_back(train: Fleet) -> None:
    before, good = versions(train.meta), variant(train, "metric", v="1")
    with prometheus_in_a_pod.known_to_the_operator(train.meta):
        time.sleep(75)  # a window before the change has to be there, too
        name = rollout(train, good, TRAIN[0], analysis={"windowSeconds": 60, "staleSeconds": 30, "metrics": [prometheus_in_a_pod.METRIC]})
        reaches(train, name, "Soaking")
        prometheus_in_a_pod.end(train.meta)
        held = reaches(train, name, "Holding")
        print(held["message"])
        assert "answers" in held["message"] or "Prometheus" in held["message"]
        assert versions(train.meta) == before | {TRAIN[0]: good}, "no answer is neither good nor bad"
        prometheus_in_a_pod.begin(train.meta)
        print(json.dumps(reaches(train, name, "Good")["stages"], indent=1))
        kok("rollout", "undo", name, "--reason", "the story goes back", f"--kubeconfig={train.lab['kubeconfig']}")
        back_at(train, before)


def test_should_take_orders_while_the_breaker_is_open_and_change_nobody_else(train: Fleet) -> None:
    """An attempt to exceed a budget opens its breaker: who is on the way is paused, resumed, aborted; who wants to begin waits, and is undone."""
    before, good = versions(train.meta), variant(train, "breaker", v="1")
    access = f"--kubeconfig={train.lab['kubeconfig']}"
    name = rollout(train, good, TRAIN[0])
    reaches(train, name, "Soaking")
    train.meta.apply(BUDGET_OF_NONE)
    try:
        exceed(train, TRAIN[1])
        wait_until("the breaker is open", lambda: phase_of_breaker(train, BUDGET) == "Open", timeout=60)
        kok("rollout", "pause", name, "--reason", "incident 42", access)
        reaches(train, name, "Paused")
        kok("rollout", "resume", name, "--reason", "it is known", access)
        says(train, name, "says no by its breaker")
        assert versions(train.meta) == before | {TRAIN[0]: good}, "nobody else is changed"
        kok("rollout", "abort", name, "--reason", "enough", access)
        reaches(train, name, "Aborted")
        back_at(train, before)
        assert phase_of_breaker(train, BUDGET) == "Open", "and that it went back was no matter of the breaker"
        second = rollout(train, good, TRAIN[1])
        says(train, second, "says no by its breaker")
        kok("rollout", "undo", second, "--reason", "not today", access)
        reaches(train, second, "Undone")
        assert versions(train.meta) == before
    finally:
        train.meta.run("delete", "operationbudget", BUDGET, "--ignore-not-found", timeout=60)


def test_should_come_to_the_same_end_when_the_leading_operator_is_killed_again_and_again(train: Fleet) -> None:
    """Twenty kills at moments drawn by chance, over as many rollouts as that takes, one of them while each stage is changing: in each of these every
    member is changed once.

    A process that leads for less than the probe needs for ten pods brings no stage further: so some live long.
    """
    chance, kills = random.Random(20), list[tuple[str, str]]()
    for number in range(MOST_ROLLOUTS):
        kills += killed_through_a_rollout(train, variant(train, f"killed-{number}", v=str(number)), chance)
        if len(kills) >= KILLS:
            break
    print(f"{len(kills)} kills", Counter(kills))
    assert len(kills) >= KILLS


def killed_through_a_rollout(train: Fleet, good: str, chance: random.Random) -> list[tuple[str, str]]:
    """The kills of one rollout, which came to its end and was undone by a person."""
    before, rolled, known = versions(train.meta), rolls(train), authorised(train)
    one_by_one = [{"name": f"stage-{number}", "clusters": [key], "soakSeconds": 30} for number, key in enumerate(TRAIN)]
    name = rollout(train, good, TRAIN[0], stages=one_by_one)
    kills = killed_again_and_again(train, name, chance)
    end = reaches(train, name, "Good")
    print(f"{len(kills)} kills", Counter(kills), json.dumps(end["stages"], indent=1))
    assert {stage["name"] for stage in one_by_one} <= {stage for phase, stage in kills if phase == "Changing"}, (
        "nobody was killed in the act"
    )
    assert set(versions(train.meta).values()) == {good}
    assert rolls(train) == {key: count + 1 for key, count in rolled.items()}, "each API server was rolled once"
    for key, (current, history) in authorised(train).items():
        assert (current["by"], current["name"], current["packageVersion"]) == ("Rollout", name, good)
        assert history[0] == known[key][0], f"{key} was authorised once"
    kok("rollout", "undo", name, "--reason", "the story goes back", f"--kubeconfig={train.lab['kubeconfig']}")
    back_at(train, before)
    return kills


def killed_again_and_again(fleet: Fleet, name: str, chance: random.Random) -> list[tuple[str, str]]:
    """Phase and stage of the rollout at each kill of the leader, until it is over."""
    kills = list[tuple[str, str]]()
    while True:
        wait_until("somebody leads", lambda: leader_of(fleet.meta), timeout=120)
        ends = time.monotonic() + chance.uniform(1, LONGEST_LIFE)
        while time.monotonic() < ends and not is_first_act(moment(fleet, name), kills):
            time.sleep(1)
        now = moment(fleet, name)
        if now[0] == "Good":
            return kills
        time.sleep(chance.uniform(0, 5))
        if leader := leader_of(fleet.meta):
            fleet.meta.run("delete", "pod", leader, "-n", "kok-system", "--grace-period=0", "--force", timeout=60)
            kills.append(now)


def is_first_act(now: tuple[str, str], kills: list[tuple[str, str]]) -> bool:
    """Whether a stage is changing in which nobody was killed yet."""
    return now[0] == "Changing" and now not in kills


def moment(fleet: Fleet, name: str) -> tuple[str, str]:
    """Phase, and the stage in hand."""
    shown = status(fleet, name)
    return shown.get("phase", ""), next((each["name"] for each in shown.get("stages") or () if not each.get("passed")), "")


def authorised(fleet: Fleet) -> dict[str, tuple[Manifest, list[Manifest]]]:
    """What each member is authorised for, and what it was before, the newest first."""
    found = {}
    for key in TRAIN:
        namespace, name = key.split("/")
        spec = (fleet.meta.get("clusterreleases.kok.dev", name, "-n", namespace) or {})["spec"]
        found[key] = spec["current"], list(spec.get("history") or ())
    return found


def exceed(fleet: Fleet, key: str) -> None:
    """Ask to upgrade that plane, as a person in need would by hand; the answer is no, and nothing is done."""
    namespace, name = key.split("/")
    spec = {
        "operation": "UpgradePlane",
        "target": {"kind": "Cluster", "name": name, "cluster": name},
        "requester": "person/jane",
        "reason": "a story",
    }
    metadata = {"name": f"exceeds-{uuid4().hex[:6]}", "namespace": namespace}
    grant = {"apiVersion": "kok.dev/v1alpha1", "kind": "OperationGrant", "metadata": metadata, "spec": spec}
    fleet.meta.run("create", "-f", "-", "--as=jane", "--as-group=system:masters", "--as-group=kok:break-glass", stdin=json.dumps(grant))
    wait_until("it is denied", lambda: decision(fleet, metadata["name"], namespace) == "Denied", timeout=60)


def decision(fleet: Fleet, name: str, namespace: str) -> str:
    return str(((fleet.meta.get("operationgrants.kok.dev", name, "-n", namespace) or {}).get("status") or {}).get("decision"))


def says(fleet: Fleet, name: str, words: str) -> None:
    wait_until(
        f"rollout {name} says {words!r}",
        lambda: words in status(fleet, name).get("message", ""),
        timeout=MINUTES,
        tell=lambda: json.dumps(status(fleet, name)),
    )


def rolls(fleet: Fleet) -> dict[str, int]:
    """How often each member's API server Deployment was rolled so far."""
    found = {}
    for key in TRAIN:
        namespace, name = key.split("/")
        deployment = fleet.meta.get("deployments", f"{name}-apiserver", "-n", namespace) or {}
        found[key] = int(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"])
    return found


def business(fleet: Fleet, key: str, folders: pytest.TempPathFactory) -> Kubectl:
    namespace, name = key.split("/")
    path = folders.mktemp(name) / "kubeconfig"
    path.write_text(kok("kubeconfig", name, "-n", namespace, f"--kubeconfig={fleet.lab['kubeconfig']}"))
    return Kubectl(fleet.meta.binary, path)

"""What a Cluster is to a rollout: whose it is now, and which stay unchanged beside a stage."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.domain.rollout.members import controls, facts_of, pool_controls, still_unchanged
from operators.domain.rollout.plan import Candidate, PlannedMember, PlannedStage
from operators.domain.rollout.view import Hold, Self
from tests.unit.operators.domain.rollout.builders import NEW, OLD, START, candidates, untouched

OWN = Self("train", "u1")


def cluster() -> Cluster:
    metadata = {"name": "c0", "namespace": "prod", "generation": 1}
    spec = {"packageVersion": OLD, "endpoint": {"type": "ClusterIP"}}
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-03-01T11:00:00Z"}
    status = {"observedGeneration": 1, "packageVersion": NEW, "conditions": [ready]}
    return Cluster.parse({"kind": "Cluster", "metadata": metadata, "spec": spec, "status": status})


def release(**current: Any) -> ClusterRelease:
    authorised = {"packageVersion": NEW, "by": "Rollout", "name": "train", "at": "2026-03-01T11:00:00Z", **current}
    return ClusterRelease.parse(
        {"kind": "ClusterRelease", "metadata": {"name": "c0", "namespace": "prod"}, "spec": {"current": authorised, "reached": NEW}}
    )


@pytest.mark.parametrize(
    ("current", "hold"),
    [
        ({}, Hold.Forward),
        ({"rolloutUID": "u1"}, Hold.Forward),
        ({"rolloutUID": "u1", "by": "Undo"}, Hold.Back),
        ({"rolloutUID": "u0"}, Hold.Free),
        ({"rolloutUID": "u0", "by": "Undo"}, Hold.Free),
        ({"name": "autumn"}, Hold.Rival),
        ({"name": "ended"}, Hold.Free),
        ({"by": "Spec", "name": ""}, Hold.Free),
    ],
    ids=["of old", "its own", "its own, back", "a namesake's", "a namesake's, back", "a running one's", "an ended one's", "the spec's"],
)
def test_should_know_whose_a_member_is(current: dict[str, Any], hold: Hold) -> None:
    facts = facts_of(OWN, cluster(), release(**current), {"autumn"}, START)
    assert facts.hold is hold
    assert facts.healthy
    assert facts.rival == ("autumn" if hold is Hold.Rival else "")


def test_should_know_whether_the_whole_plane_was_there_once() -> None:
    assert facts_of(OWN, cluster(), release(), set(), START).arrived
    assert not facts_of(OWN, cluster(), release(packageVersion=OLD), set(), START).arrived


def stages(*sizes: int) -> list[PlannedStage]:
    every = iter(range(sum(sizes)))
    return [
        PlannedStage(f"s{number}", tuple(PlannedMember(f"prod/c{next(every)}", OLD) for _ in range(size)))
        for number, size in enumerate(sizes)
    ]


def test_should_take_later_members_as_controls_then_clusters_that_are_none_and_never_sick_ones() -> None:
    made, facts = stages(1, 2), {f"prod/c{number}": untouched() for number in range(3)}
    others = [*candidates(3), Candidate("test/x", OLD, {}), Candidate("test/sick", OLD, {}, "down")]
    found = controls("u1", others, made, made[0], facts)
    assert set(found[:2]) == {"prod/c1", "prod/c2"}
    assert found[2:] == ("test/x",)
    assert controls("u1", others, made, made[1], facts) == ("test/x",)


def test_should_take_clusters_without_changed_pools_as_controls_of_machines() -> None:
    homes = {"prod/c0": "a/k", "prod/c1": "b/k", "prod/c2": "a/k"}
    clusters = [Candidate(key, OLD, {}) for key in ("a/k", "b/k", "c/k")]
    made = stages(1, 2)
    assert set(pool_controls("u1", clusters, made, made[0], homes)) == {"b/k", "c/k"}
    assert set(pool_controls("u1", clusters, made, made[1], homes)) == {"c/k"}


def test_should_keep_frozen_controls_while_they_are_unchanged_also_sick_ones() -> None:
    facts = {"prod/c1": untouched()}
    there = [Candidate("prod/c1", OLD, {}, "down"), Candidate("prod/c2", OLD, {})]
    assert still_unchanged(["prod/c1", "prod/c2", "prod/gone"], there, facts) == ("prod/c1", "prod/c2")

"""A ClusterRelease is written only over what was observed: what its Cluster's operator finished meanwhile is not forgotten."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.cluster_operator.rollout.act import Actor, Move
from operators.cluster_operator.rollout.observe import Seen
from operators.domain.rollout.view import GoBack
from operators.ports.kube import Conflict, Manifest
from tests.unit.operators.domain.rollout.builders import NEW, OLD, rollout

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = "2026-03-01T11:00:00Z"
HOP = {"lower": OLD, "upper": NEW, "direction": "Up", "stage": "Addons", "startedAt": AT, "stageSince": AT}
CURRENT = {"packageVersion": NEW, "from": OLD, "by": "Rollout", "name": "train", "rolloutUID": "u1", "at": AT}
CLUSTER = {
    "kind": "Cluster",
    "metadata": {"name": "c0", "namespace": "prod"},
    "spec": {"packageVersion": OLD, "endpoint": {"host": "c0.example.com"}},
}


def release(**spec: Any) -> Manifest:
    """Being changed from OLD to NEW."""
    metadata = {"name": "c0", "namespace": "prod", "resourceVersion": "7"}
    fields = {"current": CURRENT, "history": [], "reached": OLD, "hop": HOP} | spec
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "ClusterRelease", "metadata": metadata, "spec": fields}


class Meta:
    """An API server that has this one release."""

    def __init__(self, live: Manifest) -> None:
        self.live, self.written = live, list[Manifest]()

    async def get(self, ref: object) -> Manifest:
        return deepcopy(self.live)

    async def patch_json(self, ref: object, patch: Manifest, *, resource_version: str) -> Manifest:
        assert resource_version == self.live["metadata"]["resourceVersion"]
        self.written.append(patch)
        return self.live


async def go_back(observed: Manifest, live: Manifest) -> list[Manifest]:
    """What is written when the member is taken back."""
    meta = Meta(live)
    world: Any = SimpleNamespace(meta=meta, cache=SimpleNamespace(put=lambda manifest: None))
    fleet = {"prod/c0": (Cluster.parse(CLUSTER), ClusterRelease.parse(observed))}
    actor = Actor(world, SimpleNamespace())  # type: ignore[arg-type]
    try:
        await actor.act(Seen(rollout(), {}, (), NOW, fleet=fleet), Move(GoBack("prod/c0", OLD, "it failed")))
    except Conflict:
        assert not meta.written
        raise
    return meta.written


async def test_should_take_back_over_what_was_observed() -> None:
    (written,) = await go_back(release(), release())
    spec = written["spec"]
    assert (spec["current"]["packageVersion"], spec["reached"], spec["hop"]["stage"]) == (OLD, OLD, "Addons")
    assert [each["packageVersion"] for each in spec["history"]] == [NEW]


@pytest.mark.parametrize(
    "live",
    [release(reached=NEW, hop=None), release(hop={**HOP, "stage": "MachineOperator"}), release(history=[{**CURRENT, "by": "Spec"}])],
    ids=["the hop ended", "the hop went on", "another history"],
)
async def test_should_read_again_when_the_plane_went_on_since_it_was_observed(live: Manifest) -> None:
    with pytest.raises(Conflict, match="read again"):
        await go_back(release(), live)

"""What a Machine-Operator reads of its Cluster's release."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operators.domain.machine.release import TakenBack
from operators.machine_operator import kinds
from operators.machine_operator.meta import Meta
from operators.machine_operator.world import World
from operators.ports.kube import Manifest, Ref

FORWARD = {"packageVersion": "v2", "from": "v1", "by": "Rollout", "name": "train", "at": "2026-03-01T12:00:00Z"}
UNDO = {"packageVersion": "v1", "from": "v2", "by": "Undo", "name": "train", "at": "2026-03-01T12:30:00Z"}
EDIT = {"packageVersion": "v1", "from": "v2", "by": "Spec", "at": "2026-03-01T12:30:00Z"}


def meta(spec: dict[str, Any] | None) -> Meta:
    release = {"kind": "ClusterRelease", "metadata": {"name": "demo", "namespace": "prod"}, "spec": spec}

    def get(ref: Ref) -> Manifest | None:
        return release if spec is not None and ref == kinds.CLUSTER_RELEASE.ref("demo", "prod") else None

    world: Any = SimpleNamespace(cache=SimpleNamespace(get=get), identity=SimpleNamespace(cluster="demo", namespace="prod"))
    return Meta(cast(World, world))


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (
            {"current": UNDO, "history": [FORWARD]},
            TakenBack(datetime(2026, 3, 1, 12, 0, tzinfo=UTC), datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ),
        ({"current": EDIT, "history": [FORWARD]}, None),
        ({"current": FORWARD, "history": [UNDO]}, None),
        ({"current": UNDO}, None),
        (None, None),
    ],
    ids=["undone", "a person went back", "forward again", "nothing before it", "no release"],
)
def test_should_say_that_a_rollout_took_the_version_back(spec: dict[str, Any] | None, found: TakenBack | None) -> None:
    assert meta(spec).taken_back() == found

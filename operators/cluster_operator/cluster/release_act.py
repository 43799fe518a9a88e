"""Writes the ClusterRelease by compare-and-swap; a stage that changes masters only with leave of the risk centre. Decides nothing; called by act."""

from __future__ import annotations

from operators.api.cluster_release import ClusterRelease, Hop
from operators.api.risk import Operation
from operators.cluster_operator.cluster.grants import Act, acquire
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.release_steps import MoveHop, WriteRelease
from operators.domain.plane.view import PlaneView
from operators.domain.risk.identity import at
from operators.engine.reconcile import Waits
from operators.services.plane_danger import write_spec

LONGEST_GRANT = 86_400
WORKING_SECONDS = 3_600
"""How long a hop may take beyond its soak until its grant counts as forgotten; it is asked for again then."""


async def write_release(world: World, view: PlaneView, step: WriteRelease) -> Waits | None:
    """The write, if the release is still the one that was seen; Conflict otherwise, and the next pass looks again."""
    assert isinstance(view.release, ClusterRelease), "only a release that was read is written"
    if isinstance(step, MoveHop):
        grant = await acquire(world, view.cluster, _act_of(view, step))
        if isinstance(grant, Waits):
            return grant
        world.cache.put(await world.danger.move(view.release, step.spec, grant))
        return None
    world.cache.put(await write_spec(world.meta, view.release, step.spec))
    return None


def _act_of(view: PlaneView, step: MoveHop) -> Act:
    """One act per hop and direction: every stage of it finds the same grant."""
    hop = step.spec.hop
    assert isinstance(hop, Hop), "only a hop moves"
    metadata = view.cluster.metadata
    return Act(
        Operation.UpgradePlane,
        "Cluster",
        metadata.name,
        metadata.uid,
        workflow=f"hop-{at(hop.started_at):%Y%m%d-%H%M%S}",
        step=hop.direction.lower(),
        reason=f"{hop.lower} and {hop.upper}, {hop.direction.lower()}",
        purpose=step.purpose,
        ttl_seconds=min(LONGEST_GRANT, WORKING_SECONDS + view.cluster.spec.upgrade.soak_seconds),
    )

"""Does one step of a rollout: freezes the plan, appends a record, or writes one ClusterRelease by compare-and-swap. Decides nothing.

The release is read again right before it is written: a member is given only if nobody gave it something else meanwhile. Authored specs are never
touched. Called by the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from operators.api.cluster_release import Authorisation, AuthorisedBy, ClusterRelease
from operators.api.pools import PoolOrder
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout.journal import JournalBook, Refusal
from operators.cluster_operator.rollout.observe import Seen
from operators.cluster_operator.rollout.outlook import MACHINE_PACKAGE
from operators.cluster_operator.rollout.pools_look import PoolGround
from operators.domain.plane.release import KEPT, release_manifest
from operators.domain.risk.identity import stamp
from operators.domain.rollout.bad import FOUND_BAD, BadMark, with_mark, without_mark
from operators.domain.rollout.forecast import Outlook
from operators.domain.rollout.members import reached_members
from operators.domain.rollout.plan import FrozenPlan
from operators.domain.rollout.pools import wished_of, with_order
from operators.domain.rollout.story import Event, Outcome, Record
from operators.domain.rollout.view import Authorise, GoBack, Note, Step, Wait
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict

log = structlog.get_logger(__name__)
REACHED = 200
"""Members that a mark names: it is one object."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Write the plan."""

    plan: FrozenPlan
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing is done, and why. `is_final`: it is written down, and this generation of the spec never starts."""

    code: ErrorCode
    reason: str
    after: float | None = 60.0
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Mode Plan: the plan is only shown, with what its members would see."""

    outlook: Outlook
    reason: str
    after: float | None = 60.0
    refused: ErrorCode | None = None
    """Why a rollout like this would be refused as a whole."""


@dataclass(frozen=True, slots=True)
class Move:
    """A step of the state machine."""

    step: Step

    @property
    def reason(self) -> str:
        """Its sentence."""
        return self.step.reason

    @property
    def after(self) -> float | None:
        """At once after a write."""
        return self.step.after if isinstance(self.step, Wait) else 0.0


@dataclass(frozen=True, slots=True)
class Ordered:
    """Forward or back, and why."""

    by: AuthorisedBy
    reason: str


RolloutStep = Freeze | Refuse | Answer | Move


class Actor:
    """Does steps."""

    def __init__(self, world: World, journals: JournalBook) -> None:
        self._world, self._journals = world, journals

    async def act(self, seen: Seen, step: RolloutStep) -> None:
        """Do it. Raises KokError; then the next pass sees what came of it."""
        match step:
            case Freeze(plan=plan):
                await self._journals.freeze(seen.rollout, plan)
            case Refuse(code=code, reason=reason, is_final=True):
                await self._journals.refuse(seen.rollout, Refusal(code, reason))
            case Move(step=Note() as note):
                await self._note(seen, note)
            case Move(step=Authorise(key=key, to=to, reason=reason)):
                await self._give(seen, key, to, AuthorisedBy.Rollout, reason)
            case Move(step=GoBack(key=key, to=to, reason=reason)):
                await self._give(seen, key, to, AuthorisedBy.Undo, reason)
            case _:
                return

    async def _note(self, seen: Seen, note: Note) -> None:
        """A bad version is marked before it is noted that it failed or goes back, so that nobody else takes it from then on; killed in between, the
        next process goes by the mark. A mark is lifted before that is noted, too.
        """
        record = note.record
        if seen.view and record.outcome is Outcome.Bad and record.event in (Event.GoingBack, Event.StageFailed, Event.Ended):
            await self._mark(seen, seen.view.plan.to, record)
        if record.event is Event.FailureAccepted:
            await self._lift(seen, record.stage)
        await self._journals.append(seen.rollout, seen.records, record)

    async def _mark(self, seen: Seen, version: str, record: Record) -> None:
        """For rollouts and Clusters as a journal; on a machine package, too, for those who do not read journals: nothing waits for that one."""
        rollout, pauses = seen.rollout.metadata, record.event is Event.StageFailed
        stage = record.stage if pauses else ""
        reached = reached_members(seen.view.members, seen.ground.homes if seen.ground else None) if seen.view else ()
        mark = BadMark(
            version=version,
            rollout=rollout.name,
            why=record.text,
            by=seen.rollout.spec.said.by,
            at=stamp(seen.now),
            uid=rollout.uid,
            stage=stage,
            operation=seen.rollout.spec.change.operation.value,
            reached=reached[:REACHED],
            count=len(reached),
        )
        await self._journals.mark_bad(mark, seen.rollout)
        try:
            await self._tell_on(seen, version, lambda annotations: with_mark(annotations, mark))
        except KokError as error:
            log.warning("a machine package cannot be annotated: only rollouts refuse it", package=version, error=error.message)

    async def _lift(self, seen: Seen, stage: str) -> None:
        """First where it was repeated: as long as the journal has it, this is done again."""
        rollout = seen.rollout.metadata
        for mark in [mark for mark in seen.own_marks if mark.stage == stage]:
            await self._tell_on(seen, mark.version, lambda annotations: without_mark(annotations, rollout.name))
            await self._journals.lift_bad(mark, seen.rollout, seen.rollout.spec.said)

    async def _tell_on(self, seen: Seen, version: str, told: Callable[[Mapping[str, str]], str]) -> None:
        """The machine package's annotation as `told` makes it of those it has; a version of planes has none."""
        package = seen.ground.catalogue.machines.get(version) if seen.ground else None
        if package is None or package.metadata.annotations.get(FOUND_BAD, "") == (words := told(package.metadata.annotations)):
            return
        await self._world.meta.patch_json(MACHINE_PACKAGE.ref(version), {"metadata": {"annotations": {FOUND_BAD: words or None}}})

    async def _give(self, seen: Seen, key: str, to: str, by: AuthorisedBy, reason: str) -> None:
        """To a Cluster by its release, to a pool by an order in its release."""
        if seen.ground is None:
            await self._release(seen, key, to, by, reason)
        else:
            await self._order(seen, seen.ground, key, to, Ordered(by, reason))

    async def _order(self, seen: Seen, ground: PoolGround, key: str, to: str, ordered: Ordered) -> None:
        """One compare-and-swap on the pool's release as it was observed; only the orders are ours in it."""
        pool = ground.pools.get(key)
        if pool is None or pool.release is None:
            raise KokError(ErrorCode.NotFound, f"MachinePool {key} has no MachinePoolRelease any more")
        wished = wished_of(pool, ground.component, ground.catalogue)
        if wished.problem or not wished.wish:
            raise KokError(ErrorCode.PackageMissing, f"MachinePool {key}: {wished.problem or f'it wishes no {ground.component} any more'}")
        order = PoolOrder(
            component=ground.component,
            package=to,
            instead_of=wished.wish,
            by=ordered.by,
            rollout=seen.rollout.metadata.name,
            rollout_uid=seen.rollout.metadata.uid,
            at=stamp(seen.now),
            reason=ordered.reason[:TEXT],
            max_unavailable=seen.rollout.spec.machines.max_unavailable,
        )
        metadata = pool.release.metadata
        orders = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in with_order(pool.release, order)]
        ref = cluster_kinds.POOL_RELEASE.ref(metadata.name, metadata.namespace or "")
        await self._world.meta.patch_json(ref, {"spec": {"orders": orders}}, resource_version=metadata.resource_version)

    async def _release(self, seen: Seen, key: str, to: str, by: AuthorisedBy, reason: str) -> None:
        """One compare-and-swap on the release; Conflict if anything of it is not as observed: a hop that ended since would be forgotten."""
        cluster, release = seen.fleet.get(key, (None, None))
        if cluster is None or release is None:
            raise KokError(ErrorCode.NotFound, f"Cluster {key} has no ClusterRelease any more")
        ref = cluster_kinds.RELEASE.ref(release.metadata.name, release.metadata.namespace or "")
        found = await self._world.meta.get(ref)
        live = ClusterRelease.parse(found).spec if found else None
        if found is None or live is None or live != release.spec:
            raise Conflict(f"the ClusterRelease of {key} was written by another; it is read again")
        name = seen.rollout.metadata.name
        before = live.current
        current = Authorisation(
            package_version=to,
            from_version=before.package_version,
            by=by,
            name=name,
            rollout_uid=seen.rollout.metadata.uid,
            wish=cluster.spec.package_version,
            at=stamp(seen.now),
            reason=reason[:TEXT],
        )
        spec = live.model_copy(update={"current": current, "history": (before, *live.history)[:KEPT], "reached": live.plane_package})
        written = await self._world.meta.patch_json(
            ref, {"spec": release_manifest(spec)}, resource_version=found["metadata"]["resourceVersion"]
        )
        self._world.cache.put(written)


TEXT = 1024

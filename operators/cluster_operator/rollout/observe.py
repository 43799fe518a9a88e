"""One pass over a FleetRollout: its journal read live, its members from the cache, the numbers of probe and metrics, the Ledger. Reads only; no decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operators.api.budgets import OperationBudget
from operators.api.cluster import Cluster
from operators.api.cluster_release import AuthorisedBy, ClusterRelease
from operators.api.pools import MachinePool
from operators.api.rollout import FleetRollout
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import Remembered, World
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.journal import Journal, JournalBook
from operators.cluster_operator.rollout.measuring import Measurer
from operators.cluster_operator.rollout.outlook import catalogue_of, pools_by_cluster
from operators.cluster_operator.rollout.probing import ProbeBook
from operators.domain.rollout.bad import BadMark, standing
from operators.domain.rollout.evidence import Baseline, baseline_of
from operators.domain.rollout.forecast import NO_CATALOGUE, Catalogue
from operators.domain.rollout.judging import Measured, changed_since, spans_after, spans_before, stage_verdict
from operators.domain.rollout.leave import Leave
from operators.domain.rollout.members import candidate_of, controls, facts_of, late_joiners, still_unchanged
from operators.domain.rollout.plan import Candidate, FrozenPlan, PlannedMember, PlannedStage
from operators.domain.rollout.preflight import Fleet, Ground, refused_ways
from operators.domain.rollout.story import Story, stages_of, story_of
from operators.domain.rollout.verdict import NoData, Reading
from operators.domain.rollout.view import MemberFacts, RolloutView
from operators.domain.rollout.windows import window_state
from operators.errors import KokError
from operators.ports.kube import Key, Manifest
from operators.services.ledger import ledger_ref, read_ledger
from operators.services.risk_facts import BUDGET

RIVAL_SECONDS = 30.0
"""How long it is remembered that another rollout has ended."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One pass. `view` is None until the plan is frozen; `broken` says why nothing may be decided."""

    rollout: FleetRollout
    shown: Manifest
    candidates: tuple[Candidate, ...]
    now: datetime
    bad_versions: Mapping[str, BadMark] = field(default_factory=dict)
    records: int = 0
    view: RolloutView | None = None
    broken: KokError | None = None
    fleet: Fleet = field(default_factory=dict)
    """Every Cluster that can be read, with its release."""
    pools: Mapping[str, tuple[MachinePool, ...]] = field(default_factory=dict)
    """Before the plan is frozen: Cluster -> its pools."""
    catalogue: Catalogue = NO_CATALOGUE
    """Before the plan is frozen: every package version."""
    has_metrics: bool = False
    """Whether a metrics provider is known."""


@dataclass(frozen=True, slots=True)
class StageLook:
    """The stage in hand, and who stays unchanged beside it."""

    story: Story
    stage: PlannedStage
    members: Mapping[str, MemberFacts]
    controls: tuple[str, ...]

    @property
    def own(self) -> list[str]:
        """Members that are still there."""
        return [member.key for member in self.stage.members if member.key in self.members]


class Observer:
    """Reads everything that one pass looks at."""

    def __init__(self, world: World, journals: JournalBook, probes: ProbeBook, measurer: Measurer) -> None:
        self._world, self._journals, self._probes, self._measurer = world, journals, probes, measurer
        self._ended: Remembered[str] = Remembered(1000, RIVAL_SECONDS)

    async def observe(self, key: Key) -> Seen | None:
        """None if the rollout is gone. A journal that cannot be read stops everything: nothing is decided on half a story."""
        manifest = self._world.cache.get(kinds.ROLLOUT.ref(key.name))
        if manifest is None:
            return None
        rollout, clusters = FleetRollout.parse(manifest), dict(self._clusters())
        seen = Seen(
            rollout,
            manifest.get("status") or {},
            tuple(candidate_of(cluster, release) for cluster, release in clusters.values()),
            self._world.now(),
            fleet=clusters,
            has_metrics=self._measurer.is_there,
        )
        try:
            seen = replace(seen, bad_versions=standing(await self._journals.bad_marks(), self._annotations()))
            journal = await self._journals.read(rollout)
            if journal.plan is None:
                return replace(seen, pools=pools_by_cluster(self._world), catalogue=await catalogue_of(self._world))
            view = await self._view(seen, journal, journal.plan)
        except KokError as error:
            return replace(seen, broken=error)
        return replace(seen, records=len(journal.records), view=view)

    def _annotations(self) -> Mapping[str, Mapping[str, str]]:
        """Of every package version. One that the cache does not have yet lifts no mark."""
        found = (manifest["metadata"] for manifest in self._world.cache.list(cluster_kinds.PACKAGE))
        return {metadata["name"]: metadata.get("annotations") or {} for metadata in found}

    def _clusters(self) -> Iterable[tuple[str, tuple[Cluster, ClusterRelease | None]]]:
        """Every Cluster that can be read, with its release. One that cannot be read is not there for a rollout."""
        for manifest in self._world.cache.list(cluster_kinds.CLUSTER):
            metadata = manifest["metadata"]
            found = self._world.cache.get(cluster_kinds.RELEASE.ref(metadata["name"], metadata["namespace"]))
            try:
                cluster, release = Cluster.parse(manifest), ClusterRelease.parse(found) if found else None
            except KokError:
                continue
            yield f"{metadata['namespace']}/{metadata['name']}", (cluster, release)

    async def _view(self, seen: Seen, journal: Journal, plan: FrozenPlan) -> RolloutView:
        rollout, story = seen.rollout, story_of(journal.records)
        stages = stages_of(plan, story)
        keys = [member.key for stage in stages for member in stage.members if member.key in seen.fleet]
        running = await self._running(rollout, (release for key in keys if (release := seen.fleet[key][1])))
        facts = {key: facts_of(rollout.metadata.name, *seen.fleet[key], running, seen.now) for key in keys}
        look = self._look(seen, stages, story, facts)
        baseline, after = await self._numbers(seen, look)
        leave = None if story.ended or story.going_back else await self._leave(seen)
        return RolloutView(
            spec=rollout.spec,
            plan=plan,
            records=journal.records,
            members=facts,
            verdict=stage_verdict(
                rollout.spec.analysis, story, look.stage, facts, Measured(self._probes.samples, look.controls, after, seen.now)
            ),
            window=window_state(rollout.spec.windows, seen.now),
            now=seen.now,
            baseline=baseline,
            breaker=leave if isinstance(leave, str) else "",
            late=await self._late(seen, plan, story),
            bad_versions=frozenset(seen.bad_versions),
            leave=leave if isinstance(leave, Leave) else None,
        )

    def _look(self, seen: Seen, stages: Sequence[PlannedStage], story: Story, facts: Mapping[str, MemberFacts]) -> StageLook:
        """The controls are those of the baseline as long as they are unchanged; who is looked at is probed."""
        stage = next((each for each in stages if each.name not in story.passed), stages[-1])
        before = story.baselines.get(stage.name)
        frozen = still_unchanged(before.controls, seen.candidates, facts) if before else ()
        control = frozen or controls(seen.rollout.metadata.uid, seen.candidates, stages, stage, facts)
        look = StageLook(story, stage, facts, control)
        if story.ended is None:
            self._probes.want({*look.own, *control})
        return look

    async def _numbers(self, seen: Seen, look: StageLook) -> tuple[Baseline | NoData, Mapping[str, tuple[Reading, Reading]]]:
        """The baseline before a stage begins, and what its changed members show of the metrics afterwards."""
        analysis, name = seen.rollout.spec.analysis, f"{seen.rollout.metadata.uid}/{look.stage.name}"
        is_over = look.story.ended is not None or look.story.going_back is not None
        after: Mapping[str, tuple[Reading, Reading]] = {}
        if is_over or look.stage.name in look.story.started:
            changed = changed_since(look.stage, look.members)
            if analysis.metrics and changed and not is_over:
                after = await self._measurer.readings(
                    name, analysis, spans_after(changed, look.controls, analysis.window_seconds, seen.now)
                )
            return NoData("the stage has begun"), after
        metrics = None
        if analysis.metrics:
            metrics = await self._measurer.baseline(name, analysis, spans_before(look.own, look.controls, analysis.window_seconds))
        window = timedelta(seconds=analysis.window_seconds)
        return baseline_of(self._probes.samples, (look.own, look.controls), window, seen.now, metrics=metrics), after

    async def _late(self, seen: Seen, plan: FrozenPlan, story: Story) -> tuple[PlannedMember, ...]:
        """Late joiners whose planes can go there; the catalogue is only read when there are any."""
        late = late_joiners(seen.rollout, seen.candidates, plan, story)
        if not late or story.ended:
            return ()
        refused = refused_ways(late, plan.to, Ground(seen.fleet, pools_by_cluster(self._world), await catalogue_of(self._world)), seen.now)
        return tuple(each for each in late if each.key not in refused)

    async def _leave(self, seen: Seen) -> Leave | str:
        """What the risk centre would say, by its own Ledger and budgets; a sentence if they cannot be read, and then nothing new starts."""
        try:
            ledger = await read_ledger(self._world.meta, ledger_ref(self._world.own_namespace))
            budgets = [OperationBudget.parse(each) for each in (await self._world.meta.list(BUDGET)).items]
        except KokError as error:
            return error.message
        return Leave({each.key: each.labels for each in seen.candidates}, budgets, ledger.spec, seen.now)

    async def _running(self, rollout: FleetRollout, releases: Iterable[ClusterRelease]) -> frozenset[str]:
        """Other rollouts that wrote a member's release last and have not ended, by their journals."""
        current = (release.spec.current for release in releases)
        names = {each.name for each in current if each.by is not AuthorisedBy.Spec} - {rollout.metadata.name}
        return frozenset([name for name in sorted(names) if not await self._has_ended(name)])

    async def _has_ended(self, name: str) -> bool:
        manifest = self._world.cache.get(kinds.ROLLOUT.ref(name))
        if manifest is None:
            return True
        uid = manifest["metadata"]["uid"]
        if self._ended.get(uid):
            return True
        ended = story_of((await self._journals.read(FleetRollout.parse(manifest))).records).ended is not None
        if ended:
            self._ended.put(uid, uid)
        return ended

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
from operators.cluster_operator.rollout.following import FollowerLook
from operators.cluster_operator.rollout.journal import Journal, JournalBook, Refusal
from operators.cluster_operator.rollout.measuring import Measurer
from operators.cluster_operator.rollout.outlook import catalogue_of, pools_by_cluster
from operators.cluster_operator.rollout.pools_look import PoolGround, pool_ground
from operators.cluster_operator.rollout.probing import ProbeBook
from operators.cluster_operator.rollout.staging import Stager
from operators.cluster_operator.rollout.staging_pools import PoolStager
from operators.domain.risk.identity import at
from operators.domain.rollout import pools, staging, staging_pools, vitals
from operators.domain.rollout.bad import BadMark, is_lifted, standing
from operators.domain.rollout.evidence import Baseline, baseline_of
from operators.domain.rollout.forecast import NO_CATALOGUE, Catalogue
from operators.domain.rollout.judging import Measured, at_home, changed_since, spans_after, spans_before, stage_verdict
from operators.domain.rollout.leave import Leave
from operators.domain.rollout.members import candidate_of, controls, facts_of, late_joiners, pool_controls, still_unchanged
from operators.domain.rollout.metrics import JUDGED, MetricBaseline
from operators.domain.rollout.nodes import changed_nodes, proven
from operators.domain.rollout.plan import Candidate, FrozenPlan, PlannedMember, PlannedStage
from operators.domain.rollout.preflight import Fleet, Ground, refused_ways
from operators.domain.rollout.returning import worse
from operators.domain.rollout.story import Story, stages_of, story_of
from operators.domain.rollout.verdict import NoData, Reading
from operators.domain.rollout.view import Hold, MemberFacts, RolloutView, Self
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
    """Who can be a member: Clusters, or pools of a change of machines."""
    now: datetime
    bad_versions: Mapping[str, BadMark] = field(default_factory=dict)
    staged: Manifest | None = None
    """What pulls images ahead, where there are windows."""
    hosts: PoolGround | None = None
    """Pools on whose hosts artifacts are staged ahead."""
    own_marks: tuple[BadMark, ...] = ()
    """Those that this very rollout made, and nobody lifted."""
    records: int = 0
    view: RolloutView | None = None
    refusal: Refusal | None = None
    """What was told of this generation of the spec, before any plan."""
    broken: KokError | None = None
    fleet: Fleet = field(default_factory=dict)
    """Every Cluster that can be read, with its release."""
    unreadable: Mapping[str, KokError] = field(default_factory=dict)
    """Clusters that are there, and cannot be read."""
    clusters: tuple[Candidate, ...] = ()
    """All Clusters, as controls and for budgets."""
    ground: PoolGround | None = None
    """Of a change of machines."""
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
    homes: Mapping[str, str] | None = None
    """Of a change of machines: pool -> its Cluster."""

    @property
    def own(self) -> list[str]:
        """Clusters of members that are still there."""
        there = [member.key for member in self.stage.members if member.key in self.members]
        return list(dict.fromkeys(self.homes[key] for key in there)) if self.homes is not None else there


class Observer:
    """Reads everything that one pass looks at."""

    def __init__(self, world: World, journals: JournalBook, probes: ProbeBook, measurer: Measurer, pool_stager: PoolStager) -> None:
        self._stager, self._pool_stager = Stager(world), pool_stager
        self._world, self._journals, self._probes, self._measurer = world, journals, probes, measurer
        self._followers = FollowerLook(world, probes)
        self._ended: Remembered[str] = Remembered(1000, RIVAL_SECONDS)

    async def observe(self, key: Key) -> Seen | None:
        """None if the rollout is gone. A journal that cannot be read stops everything: nothing is decided on half a story."""
        manifest = self._world.cache.get(kinds.ROLLOUT.ref(key.name))
        if manifest is None:
            return None
        rollout, (fleet, unreadable) = FleetRollout.parse(manifest), self._clusters()
        clusters = tuple(candidate_of(cluster, release) for cluster, release in fleet.values())
        seen = Seen(
            rollout,
            manifest.get("status") or {},
            clusters,
            self._world.now(),
            fleet=fleet,
            unreadable=unreadable,
            clusters=clusters,
            has_metrics=self._measurer.is_there,
        )
        try:
            seen = await self._with_pools(seen)
            marks, annotations = await self._journals.bad_marks(), self._annotations(seen)
            own = tuple(mark for mark in marks if mark.uid == rollout.metadata.uid and not is_lifted(mark, annotations))
            seen = replace(seen, bad_versions=standing(marks, annotations), own_marks=own)
            journal = await self._journals.read(rollout)
            if journal.plan is None:
                catalogue = seen.ground.catalogue if seen.ground else await catalogue_of(self._world)
                refusal = journal.refusals.get(rollout.metadata.generation)
                return replace(seen, pools=pools_by_cluster(self._world), catalogue=catalogue, refusal=refusal)
            view = await self._view(seen, journal, journal.plan)
        except KokError as error:
            return replace(seen, broken=error)
        return await self._with_staging(replace(seen, records=len(journal.records), view=view), view)

    async def _with_staging(self, seen: Seen, view: RolloutView) -> Seen:
        """What is on its way ahead of a window, and how far it is."""
        rollout, staged = seen.rollout, None
        if not rollout.spec.change.of_machines and (rollout.spec.windows or not view.story.ended):
            staged = await self._stager.look(rollout)
        ground = await self._pool_stager.look(rollout, view, seen.ground, seen.fleet)
        if not staging.waits_for_a_window(view):
            return replace(seen, staged=staged, hosts=ground)
        words = [staging.words_of(staged)] if staging.is_wanted(view) else []
        if ground is not None:
            words.append(staging_pools.words_of(rollout.metadata.name, staging_pools.targets_of(view, ground.pools, ground.catalogue)))
        return replace(seen, staged=staged, hosts=ground, view=replace(view, staged="; ".join(filter(None, words))))

    async def _with_pools(self, seen: Seen) -> Seen:
        """Of a change of machines the members are pools."""
        change = seen.rollout.spec.change
        if not change.of_machines:
            return seen
        ground = await pool_ground(self._world, change.to, seen.fleet)
        candidates = tuple(pools.candidate_of(each, ground.component, ground.catalogue) for each in ground.pools.values())
        return replace(seen, ground=ground, candidates=candidates)

    def _annotations(self, seen: Seen) -> Mapping[str, Mapping[str, str]]:
        """Of every package version. One that the cache does not have yet lifts no mark."""
        found = (manifest["metadata"] for manifest in self._world.cache.list(cluster_kinds.PACKAGE))
        of_machines = seen.ground.catalogue.machines if seen.ground else {}
        return {metadata["name"]: metadata.get("annotations") or {} for metadata in found} | {
            name: each.metadata.annotations for name, each in of_machines.items()
        }

    def _clusters(self) -> tuple[Fleet, Mapping[str, KokError]]:
        """Every Cluster with its release, and those that cannot be read: no candidates, but as members not the same as gone."""
        fleet: dict[str, tuple[Cluster, ClusterRelease | None]] = {}
        unreadable: dict[str, KokError] = {}
        for manifest in self._world.cache.list(cluster_kinds.CLUSTER):
            metadata = manifest["metadata"]
            found = self._world.cache.get(cluster_kinds.RELEASE.ref(metadata["name"], metadata["namespace"]))
            key = f"{metadata['namespace']}/{metadata['name']}"
            try:
                fleet[key] = Cluster.parse(manifest), ClusterRelease.parse(found) if found else None
            except KokError as error:
                unreadable[key] = error
        return fleet, unreadable

    async def _view(self, seen: Seen, journal: Journal, plan: FrozenPlan) -> RolloutView:
        rollout, story = seen.rollout, story_of(journal.records)
        stages = stages_of(plan, story)
        members = [member.key for stage in stages for member in stage.members]
        if story.ended is None:
            check_readable(members, seen.ground.unreadable if seen.ground else seen.unreadable)
        facts: Mapping[str, MemberFacts] = await self._facts(seen, members)
        look = self._look(seen, stages, story, facts)
        facts = self._with_nodes(seen, plan.to, look) if seen.ground else await self._with_followers(seen, look)
        baseline, after = await self._numbers(seen, look)
        leave = None if story.ended or story.going_back else await self._leave(seen)
        return RolloutView(
            spec=rollout.spec,
            plan=plan,
            records=journal.records,
            members=facts,
            verdict=stage_verdict(
                rollout.spec.analysis, story, look.stage, facts, Measured(self._probes.samples, look.controls, after, seen.now, look.homes)
            ),
            window=window_state(rollout.spec.windows, seen.now),
            now=seen.now,
            made=at(made) if (made := rollout.metadata.creation_timestamp) else seen.now,
            baseline=baseline,
            worse=self._worse(seen, story, look),
            breaker=leave if isinstance(leave, str) else "",
            late=await self._late(seen, plan, story),
            bad_versions=frozenset(seen.bad_versions),
            leave=leave if isinstance(leave, Leave) else None,
            marked=next((mark.why for mark in seen.own_marks if not mark.stage), ""),
            marked_stages={mark.stage: mark.why for mark in seen.own_marks if mark.stage},
        )

    async def _facts(self, seen: Seen, members: Sequence[str]) -> dict[str, MemberFacts]:
        """Of every member that is still there."""
        own_self, ground = Self(seen.rollout.metadata.name, seen.rollout.metadata.uid), seen.ground
        if ground is not None:
            own = {key: ground.pools[key] for key in members if key in ground.pools}
            running = await self._running(pools.rollouts_of(own.values(), ground.component) - {own_self.name})
            return {key: pools.facts_of(own_self, each, ground.component, ground.catalogue, running) for key, each in own.items()}
        keys = [key for key in members if key in seen.fleet]
        current = (release.spec.current for key in keys if (release := seen.fleet[key][1]))
        running = await self._running({each.name for each in current if each.by is not AuthorisedBy.Spec} - {own_self.name})
        return {key: facts_of(own_self, *seen.fleet[key], running, seen.now) for key in keys}

    def _look(self, seen: Seen, stages: Sequence[PlannedStage], story: Story, facts: Mapping[str, MemberFacts]) -> StageLook:
        """The controls are those of the baseline as long as they are unchanged; who is looked at is probed."""
        stage = next((each for each in stages if each.name not in story.passed), stages[-1])
        before = story.baselines.get(stage.name)
        uid, homes = seen.rollout.metadata.uid, seen.ground.homes if seen.ground else None
        frozen = still_unchanged(before.controls, seen.clusters, facts) if before else ()
        now = (
            pool_controls(uid, seen.clusters, stages, stage, homes)
            if homes is not None
            else controls(uid, seen.clusters, stages, stage, facts)
        )
        look = StageLook(story, stage, facts, frozen or now, homes)
        if story.ended is None:
            self._probes.want([*look.own[:JUDGED], *look.controls, *look.own])
        if story.going_back and story.ended is None:
            touched = [key for key, each in facts.items() if each.hold in (Hold.Forward, Hold.Back)]
            self._probes.want([homes[key] if homes is not None else key for key in touched][:JUDGED])
        return look

    def _worse(self, seen: Seen, story: Story, look: StageLook) -> str:
        """Of a rollout that goes back: what its numbers say of that."""
        if story.going_back is None or story.ended is not None:
            return ""
        window = timedelta(seconds=seen.rollout.spec.analysis.window_seconds)
        return worse(look.members, self._probes.samples, look.homes, window, seen.now, look.controls)

    def _with_nodes(self, seen: Seen, to: str, look: StageLook) -> Mapping[str, MemberFacts]:
        """Of a change of machines: what the changed nodes of the stage in hand still owe; and they are asked."""
        ground, story = seen.ground, look.story
        if ground is None or not self._probes.asks_nodes or story.ended or story.going_back or look.stage.name in story.healthy:
            return look.members
        found = dict(look.members)
        for key in [member.key for member in look.stage.members if member.key in found and member.key in ground.pools]:
            changes = changed_nodes(ground.pools[key], to) if found[key].hold is Hold.Forward else ()
            self._probes.want_nodes(changes)
            found[key] = proven(found[key], changes, self._probes.tries)
        return found

    async def _with_followers(self, seen: Seen, look: StageLook) -> Mapping[str, MemberFacts]:
        """Of a change of planes: what the hosts that follow still owe, in the stage in hand; of one that goes back once every plane is back."""
        story, facts = look.story, look.members
        if story.ended or (look.stage.name in story.healthy and not story.going_back):
            return facts
        if not story.going_back:
            return await self._followers.look([member.key for member in look.stage.members], facts, seen.fleet)
        owing = [each for each in facts.values() if each.hold is Hold.Forward or (each.hold is Hold.Back and not each.healthy)]
        return facts if owing else await self._followers.look(facts, facts, seen.fleet)

    async def _numbers(self, seen: Seen, look: StageLook) -> tuple[Baseline | NoData, Mapping[str, tuple[Reading, Reading]]]:
        """The baseline before a stage begins, and what its changed members show of the metrics afterwards."""
        if look.story.ended is not None or look.story.going_back is not None:
            return NoData("the stage has begun"), {}
        if look.stage.name in look.story.started:
            return NoData("the stage has begun"), await self._after(seen, look)
        return await self._before(seen, look), {}

    async def _before(self, seen: Seen, look: StageLook) -> Baseline | NoData:
        analysis, name = seen.rollout.spec.analysis, f"{seen.rollout.metadata.uid}/{look.stage.name}"
        metrics: Mapping[str, MetricBaseline] | NoData = {}
        if analysis.metrics:
            metrics = await self._measurer.baseline(name, analysis, spans_before(look.own, look.controls, analysis.window_seconds))
        if self._probes.has_gauge and not isinstance(metrics, NoData):
            span = vitals.Span(analysis.window_seconds, seen.now)
            found = vitals.vitals_before(self._probes.vitals, (look.own[:JUDGED], look.controls), span)
            metrics = found if isinstance(found, NoData) else {**metrics, **found}
        window = timedelta(seconds=analysis.window_seconds)
        return baseline_of(self._probes.samples, (look.own, look.controls), window, seen.now, metrics=metrics)

    async def _after(self, seen: Seen, look: StageLook) -> Mapping[str, tuple[Reading, Reading]]:
        """Of a provider only what is asked for; of the planes themselves what the baseline has."""
        analysis, name = seen.rollout.spec.analysis, f"{seen.rollout.metadata.uid}/{look.stage.name}"
        changed, known = at_home(changed_since(look.stage, look.members), look.homes), look.story.baselines.get(look.stage.name)
        before: Mapping[str, MetricBaseline] = known.metrics if known else {}
        judged = {key: changed[key] for key in look.own[:JUDGED] if key in changed}
        span = vitals.Span(analysis.window_seconds, seen.now)
        found = vitals.vitals_after(self._probes.vitals, judged, look.controls, span, before)
        if not analysis.metrics or not changed:
            return found
        spans = spans_after(changed, look.controls, analysis.window_seconds, seen.now)
        return {**found, **await self._measurer.after(name, analysis, spans, before)}

    async def _late(self, seen: Seen, plan: FrozenPlan, story: Story) -> tuple[PlannedMember, ...]:
        """Late joiners that can go there; the catalogue of planes is only read when there are any."""
        late = () if story.ended else late_joiners(seen.rollout, seen.candidates, plan, story)
        if seen.ground:
            return pools.can_go(late, plan.to, seen.ground.pools, seen.ground.catalogue)
        if not late:
            return ()
        ground = Ground(seen.fleet, pools_by_cluster(self._world), await catalogue_of(self._world), seen.bad_versions)
        refused = refused_ways(late, plan.to, ground, seen.now)
        return tuple(each for each in late if each.key not in refused)

    async def _leave(self, seen: Seen) -> Leave | str:
        """What the risk centre would say, by its own Ledger and budgets; a sentence if they cannot be read, and then nothing new starts."""
        try:
            ledger = await read_ledger(self._world.meta, ledger_ref(self._world.own_namespace))
            budgets = [OperationBudget.parse(each) for each in (await self._world.meta.list(BUDGET)).items]
        except KokError as error:
            return error.message
        homes = seen.ground.homes if seen.ground else None
        return Leave({each.key: each.labels for each in seen.clusters}, budgets, ledger.spec, seen.now, pools=homes)

    async def _running(self, names: Iterable[str]) -> frozenset[str]:
        """Of these rollouts those that have not ended, by their journals."""
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


def check_readable(members: Iterable[str], unreadable: Mapping[str, KokError]) -> None:
    """Raises KokError for a member that is there and cannot be read: that is not the same as gone, and a person has to mend it."""
    for key in members:
        if error := unreadable.get(key):
            raise KokError(error.code, f"member {key} is there, but cannot be read: {error.message}", error.hint)

"""One pass over a FleetRollout: its journal read live, its members from the cache, the probe's numbers. Reads only; no decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from operators.api.base import ConditionStatus
from operators.api.cluster import Cluster
from operators.api.cluster_release import AuthorisedBy, ClusterRelease
from operators.api.pools import MachinePool
from operators.api.rollout import FleetRollout, Mode
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.journal import Journal, JournalBook
from operators.cluster_operator.rollout.outlook import catalogue_of, pools_by_cluster
from operators.cluster_operator.rollout.probing import ProbeBook
from operators.domain.risk.identity import at
from operators.domain.rollout.evidence import Baseline, Samples, baseline_of, probe_evidence, probe_limits
from operators.domain.rollout.forecast import NO_CATALOGUE, Catalogue
from operators.domain.rollout.plan import Candidate, FrozenPlan, PlannedMember, PlannedStage, place, selects
from operators.domain.rollout.state import Hold, MemberFacts, RolloutView
from operators.domain.rollout.story import Story, stages_of, story_of
from operators.domain.rollout.verdict import Judgement, Verdict, judge_all
from operators.domain.rollout.windows import window_state
from operators.errors import KokError
from operators.ports.kube import Key, Manifest

CONTROLS = 5
"""Unchanged clusters that are probed beside a stage: enough to see a trouble that is everybody's."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One pass. `view` is None until the plan is frozen; `broken` says why nothing may be decided."""

    rollout: FleetRollout
    shown: Manifest
    candidates: tuple[Candidate, ...]
    bad_versions: frozenset[str]
    known_packages: frozenset[str]
    now: datetime
    records: int = 0
    view: RolloutView | None = None
    broken: KokError | None = None
    releases: Mapping[str, ClusterRelease] = field(default_factory=dict)
    wishes: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> spec.packageVersion."""
    pools: Mapping[str, tuple[MachinePool, ...]] = field(default_factory=dict)
    """With mode Plan: Cluster -> its pools."""
    catalogue: Catalogue = NO_CATALOGUE
    """With mode Plan: every package version."""


class Observer:
    """Reads everything that one pass looks at."""

    def __init__(self, world: World, journals: JournalBook, probes: ProbeBook) -> None:
        self._world, self._journals, self._probes = world, journals, probes

    async def observe(self, key: Key) -> Seen | None:
        """None if the rollout is gone. A journal that cannot be read stops everything: nothing is decided on half a story."""
        manifest = self._world.cache.get(kinds.ROLLOUT.ref(key.name))
        if manifest is None:
            return None
        rollout = FleetRollout.parse(manifest)
        clusters = dict(self._clusters())
        releases = {name: release for name, _, release, _ in clusters.values() if release}
        candidates = tuple(candidate_of(cluster, release) for _, cluster, release, _ in clusters.values())
        wishes = {name: cluster.spec.package_version for name, cluster, _, _ in clusters.values()}
        packages = frozenset(each["metadata"]["name"] for each in (await self._world.meta.list(cluster_kinds.PACKAGE)).items)
        bad = await self._journals.bad_versions()
        seen = Seen(rollout, manifest.get("status") or {}, candidates, bad, packages, self._world.now(), releases=releases, wishes=wishes)
        try:
            journal = await self._journals.read(rollout)
        except KokError as error:
            return Seen(rollout, seen.shown, candidates, bad, packages, seen.now, broken=error)
        if journal.plan is None:
            return await self._planning(seen) if rollout.spec.mode is Mode.Plan else seen
        view = self._view(seen, journal, journal.plan, {name: cluster for name, cluster, _, _ in clusters.values()})
        return Seen(rollout, seen.shown, candidates, bad, packages, seen.now, len(journal.records), view, releases=releases, wishes=wishes)

    async def _planning(self, seen: Seen) -> Seen:
        return replace(seen, pools=pools_by_cluster(self._world), catalogue=await catalogue_of(self._world))

    def _clusters(self) -> Iterable[tuple[str, tuple[str, Cluster, ClusterRelease | None, Manifest]]]:
        """Every Cluster that can be read, with its release. One that cannot be read is not there for a rollout."""
        for manifest in self._world.cache.list(cluster_kinds.CLUSTER):
            metadata = manifest["metadata"]
            name = f"{metadata['namespace']}/{metadata['name']}"
            found = self._world.cache.get(cluster_kinds.RELEASE.ref(metadata["name"], metadata["namespace"]))
            try:
                cluster, release = Cluster.parse(manifest), ClusterRelease.parse(found) if found else None
            except KokError:
                continue
            yield name, (name, cluster, release, manifest)

    def _view(self, seen: Seen, journal: Journal, plan: FrozenPlan, clusters: Mapping[str, Cluster]) -> RolloutView:
        story = story_of(journal.records)
        stages = stages_of(plan, story)
        keys = [member.key for stage in stages for member in stage.members]
        facts = {key: self._facts(seen.rollout, clusters[key], seen.releases.get(key)) for key in keys if key in clusters}
        stage = next((each for each in stages if each.name not in story.passed), stages[-1])
        control = controls(seen, stages, stage, story, facts)
        ended = story.ended is not None
        if not ended:
            self._probes.want({member.key for member in stage.members if member.key in facts} | set(control))
        window = timedelta(seconds=seen.rollout.spec.analysis.window_seconds)
        own = [member.key for member in stage.members if member.key in facts]
        return RolloutView(
            spec=seen.rollout.spec,
            plan=plan,
            records=journal.records,
            members=facts,
            verdict=verdict_of(seen.rollout, story, stage, facts, control, self._probes.samples, seen.now),
            window=window_state(seen.rollout.spec.windows, seen.now),
            now=seen.now,
            baseline=baseline_of(self._probes.samples, own, control, window, seen.now),
            late=late_joiners(seen, plan, story),
            bad_versions=seen.bad_versions,
        )

    def _facts(self, rollout: FleetRollout, cluster: Cluster, release: ClusterRelease | None) -> MemberFacts:
        if release is None:
            return MemberFacts(Hold.Free, "", self._world.now(), False, "nothing is authorised for it yet")
        current = release.spec.current
        trouble, since = trouble_of(cluster, release)
        hold, rival = self._hold(rollout, release)
        unhealthy, ready = (since, None) if trouble else (None, since)
        return MemberFacts(hold, current.package_version, at(current.at), not trouble, trouble, unhealthy, ready, rival)

    def _hold(self, rollout: FleetRollout, release: ClusterRelease) -> tuple[Hold, str]:
        current, own = release.spec.current, rollout.metadata.name
        if current.by is AuthorisedBy.Spec:
            return Hold.Free, ""
        if current.name == own:
            return (Hold.Forward if current.by is AuthorisedBy.Rollout else Hold.Back), ""
        rival = self._world.cache.get(kinds.ROLLOUT.ref(current.name))
        if rival is None or ((rival.get("status") or {}).get("endedAt") and not rival["metadata"].get("deletionTimestamp")):
            return Hold.Free, ""
        return Hold.Rival, current.name


def candidate_of(cluster: Cluster, release: ClusterRelease | None) -> Candidate:
    """A Cluster as a plan sees it."""
    metadata = cluster.metadata
    version = release.spec.current.package_version if release else ""
    trouble = trouble_of(cluster, release)[0] if release else ""
    return Candidate(f"{metadata.namespace}/{metadata.name}", version, metadata.labels, trouble)


def trouble_of(cluster: Cluster, release: ClusterRelease) -> tuple[str, datetime | None]:
    """Why a Cluster is not healthy at what is authorised, empty when it is; and since when it is so.

    Its own conditions are asked, but only if they speak of this generation and of this authorisation.
    """
    status = cluster.status
    ready = next((each for each in status.conditions if each.type == "Ready"), None) if status else None
    if cluster.deleting:
        return "it is being deleted", None
    if cluster.spec.paused:
        return "it is paused", None
    if status is None or ready is None or status.observed_generation < cluster.metadata.generation:
        return "its operator has not looked at it yet", None
    since = at(ready.last_transition_time)
    if status.package_version != release.spec.current.package_version or release.spec.hop is not None:
        return status.message or "is changing", since
    if release.spec.plane_package != release.spec.current.package_version:
        return status.message or "is changing", since
    return ("", since) if ready.status is ConditionStatus.TRUE else (ready.message or ready.reason, since)


def controls(
    seen: Seen, stages: tuple[PlannedStage, ...], stage: PlannedStage, story: Story, members: Mapping[str, MemberFacts]
) -> list[str]:
    """Healthy Clusters that stay unchanged while this stage goes on: members of later stages first, then Clusters that are no members."""
    known = {member.key for each in stages for member in each.members}
    later = [member.key for each in stages if each.name != stage.name and each.name not in story.started for member in each.members]
    untouched = [key for key in later if key in members and members[key].hold is Hold.Free and members[key].healthy]
    others = [each.key for each in seen.candidates if each.key not in known and each.version and not each.trouble]
    uid = seen.rollout.metadata.uid
    return [key for group in (untouched, others) for key in sorted(group, key=lambda key: place(f"control/{uid}", key))][:CONTROLS]


def verdict_of(  # noqa: PLR0913 - what a verdict is made of
    rollout: FleetRollout,
    story: Story,
    stage: PlannedStage,
    facts: Mapping[str, MemberFacts],
    control: list[str],
    samples: Samples,
    now: datetime,
) -> Verdict:
    """The verdict on the stage in hand, by the probe."""
    baseline = story.baselines.get(stage.name)
    if not isinstance(baseline, Baseline):
        return Verdict(Judgement.HOLD, "no baseline was taken")
    changed = {
        member.key: max(facts[member.key].since, facts[member.key].ready_since or facts[member.key].since)
        for member in stage.members
        if member.key in facts and facts[member.key].hold is Hold.Forward and facts[member.key].healthy
    }
    evidence = probe_evidence(baseline, samples, changed, control, now)
    return judge_all([evidence], {evidence.metric: probe_limits(rollout.spec.analysis.probe_floor)})


def late_joiners(seen: Seen, plan: FrozenPlan, story: Story) -> tuple[PlannedMember, ...]:
    """Selected healthy Clusters that the plan does not know, in its order."""
    known = {member.key for member in (*plan.members, *story.joined)} | set(plan.skipped)
    new = [
        each
        for each in seen.candidates
        if each.key not in known and selects(seen.rollout.spec.selector, each) and each.version not in ("", plan.to) and not each.trouble
    ]
    uid, domain = seen.rollout.metadata.uid, seen.rollout.spec.per_domain
    return tuple(
        PlannedMember(each.key, each.version, each.labels.get(domain.label, "") if domain else "")
        for each in sorted(new, key=lambda each: place(uid, each.key))
    )

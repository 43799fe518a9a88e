"""Rollouts: how near their makespan is to the ideal one, how soon they stop at a bad sample, and what one pass over 3,000 clusters costs.

Simulated: planes with drawn durations under the real state machine and verdicts; for the pass, an API server that answers from memory.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import re
import time
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from operators.adapters.catalogue_files import FileCatalogue
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World as OperatorWorld
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.controller import RolloutController, rollout_controllers
from operators.cluster_operator.rollout.probing import EVERY
from operators.domain.rollout.evidence import POD_CREATION
from operators.domain.rollout.plan import PlannedStage
from operators.domain.rollout.verdict import Counts, Evidence, Limits, judge
from operators.domain.rollout.view import Hold, State, Wait
from operators.engine.cache import ObjectCache
from operators.ports.kube import Kind, Listing, Manifest, Ref, Watched
from tests.bench.report import Row
from tests.integration.cluster_operator.world_of_planes import cluster_manifest, package_manifest
from tests.unit.operators.domain.rollout.builders import rollout
from tests.unit.operators.domain.rollout.world import World

CLUSTERS, PARALLEL, SOAK = 100, 5, 60
STAGES = (
    {"name": "canary", "clusters": ["prod/c0"], "soakSeconds": SOAK},
    {"name": "tenth", "percent": 10, "maxParallel": PARALLEL, "soakSeconds": SOAK},
    {"name": "rest", "rest": True, "maxParallel": PARALLEL, "soakSeconds": SOAK},
)
FLEETS = (300, 3000)
OLD, NEW = "kubernetes-1.35.3-bench", "kubernetes-1.35.4-bench"


def measure() -> list[Row]:
    """Makespan, reaction, and the weight of a pass."""
    setting = f"{CLUSTERS} simulated planes, drawn durations, {PARALLEL} at once, three stages that soak {SOAK} s"
    makespans = [_makespan(seed) for seed in range(5)]
    first, second = zip(*makespans, strict=True)
    rows = [Row("makespan of a rollout", "s", tuple(first), tuple(second), max_ratio=1.15, setting=setting)]
    reactions, touched = zip(*(_reaction(seed) for seed in range(5)), strict=True)
    rows.append(Row("first bad sample to stop", "s", tuple(reactions), max_value=2 * EVERY, setting="simulated, as above"))
    rows.append(Row("clusters touched after it", "", tuple(float(each) for each in touched), max_value=0, setting="simulated, as above"))
    return [*rows, *(_pass(count) for count in FLEETS), _memory()]


class Planes:
    """A World in which every member takes its drawn time to become healthy."""

    def __init__(self, seed: int) -> None:
        self.world = World.of(rollout(*STAGES), CLUSTERS)
        self.world.heals = False
        drawn = random.Random(seed)
        self.durations = {member.key: drawn.lognormvariate(5.2, 0.5) for member in self.world.plan.members}

    def live(self) -> None:
        """Who had time enough is healthy."""
        world = self.world
        for key, facts in world.members.items():
            ready = facts.since + timedelta(seconds=self.durations[key])
            if facts.hold is Hold.Forward and not facts.healthy and world.now >= ready:
                world.members[key] = replace(facts, healthy=True, ready_since=ready)

    def passes(self) -> Wait:
        """Passes until there is nothing to do now; then time goes on to the next look."""
        self.live()
        step = self.world.run()
        self.world.now += timedelta(seconds=step.after or 0.0)
        return step


def _makespan(seed: int) -> tuple[float, float]:
    planes = Planes(seed)
    began = planes.world.now
    while planes.passes().state is not State.Ended:
        pass
    ideal = sum(_ideal(stage, planes.durations, 1 if stage.name == "canary" else PARALLEL) + SOAK for stage in planes.world.plan.stages)
    return (planes.world.now - began).total_seconds(), ideal


def _ideal(stage: PlannedStage, durations: dict[str, float], slots: int) -> float:
    """The same order and the same slots, each taken the moment it is free."""
    free = [0.0] * slots
    for member in stage.members:
        heapq.heappush(free, heapq.heappop(free) + durations[member.key])
    return max(free)


def _reaction(seed: int) -> tuple[float, int]:
    """A change that turns bad in the middle of the rest: seconds from the first bad sample to the pass after which nobody is started, and how many were."""
    planes = Planes(seed)
    world = planes.world
    while len(world.changed()) < CLUSTERS // 2:
        planes.passes()
    bad_at = world.now - timedelta(seconds=random.Random(seed).uniform(0.0, 5.0))  # at any moment since the last look
    touched = _touched(world)
    evidence = Evidence(POD_CREATION, Counts(40, 40), Counts(2, 3), Counts(40, 40), Counts(3, 3))
    world.verdict = judge(evidence, Limits(0.95, 0.05, 10))  # one of three: far too few to judge by
    stopped, known = world.now, touched
    for _ in range(50):
        moment = world.now
        planes.passes()
        if (now := _touched(world)) != known:
            stopped, known = moment, now
    return (stopped - bad_at).total_seconds(), len(known - touched)


def _touched(world: World) -> set[str]:
    return {key for key, facts in world.members.items() if facts.hold is not Hold.Free}


class MemoryMeta:
    """A meta cluster that answers from memory: what is measured is our own work, not the wire."""

    def __init__(self) -> None:
        self.created: list[Manifest] = []

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = 0.0) -> Listing:
        if kind == cluster_kinds.PACKAGE:
            return Listing((package_manifest(OLD, "1.35.3"), package_manifest(NEW, "1.35.4")), "1")
        if kind.kind == "OperationBudget":
            scope = {"per": "Fleet", "clusters": {"all": True}}
            spec = {"operations": ["UpgradePlane"], "scope": scope, "concurrency": {"count": PARALLEL}}
            return Listing((_object("OperationBudget", "planes", spec=spec),), "1")
        wanted = _parsed(selector) if kind.kind == "ControllerRevision" else {"none": {""}}
        found = [each for each in self.created if all(each["metadata"]["labels"].get(key) in values for key, values in wanted.items())]
        return Listing(tuple(found), "1")

    async def get(self, ref: Ref, *, deadline: float = 0.0) -> Manifest | None:
        return _object("Ledger", ref.name, "kok-system", spec={}) if ref.kind == "Ledger" else None

    async def create(self, manifest: Manifest, *, deadline: float = 0.0) -> Manifest:
        self.created.append(manifest)
        return manifest


def _parsed(selector: str) -> dict[str, set[str]]:
    """Label -> the values that are wanted, of `a=b` and `a in (b,c)`."""
    found = dict[str, set[str]]()
    for part in re.findall(r"[^,(]+(?:\([^)]*\))?", selector):
        key, values = re.split(r"=| in ", part, maxsplit=1)
        found[key.strip()] = set(values.strip("() ").split(","))
    return found


def _object(kind: str, name: str, namespace: str = "", **fields: Any) -> Manifest:
    metadata = {"name": name, "uid": f"{kind}-{namespace}-{name}", "resourceVersion": "1", "generation": 1}
    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        **fields,
    }


def _pass(count: int) -> Row:
    controller = _controller(count)
    samples = asyncio.run(_cpu(controller, 5))
    bar = 1.0 if count == max(FLEETS) else None
    return Row(
        f"CPU of a pass over {count}", "s", samples, max_value=bar, setting="every Cluster of the fleet a member; API server simulated"
    )


def _memory() -> Row:
    """What a rollout holds after two passes, Clusters and releases in the cache included: the slope between the two fleets."""
    held = []
    for count in FLEETS:
        tracemalloc.start()
        controller = _controller(count)
        asyncio.run(_cpu(controller, 1))
        held.append(tracemalloc.get_traced_memory()[0] / 1024)
        tracemalloc.stop()
        del controller
    slope = (held[1] - held[0]) / (FLEETS[1] - FLEETS[0])
    setting = f"slope from {FLEETS[0]} to {FLEETS[1]}, with what the cache holds of them; {held[1] / 1024:.0f} MiB at {FLEETS[1]}"
    return Row("memory per member", "KiB", (slope,), setting=setting)


def _controller(count: int) -> RolloutController:
    cache, now = ObjectCache(lambda key: None), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for kind in (cluster_kinds.CLUSTER, cluster_kinds.RELEASE, cluster_kinds.PACKAGE, cluster_kinds.POOL, kinds.ROLLOUT):
        cache.follow(Watched(kind, lambda manifest: [kinds.key_of(manifest["metadata"]["name"])]))
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": now}
    for number in range(count):
        cluster = cluster_manifest(f"n{number}", "c", packageVersion=OLD)
        cluster["metadata"] |= {"uid": f"u{number}", "resourceVersion": "1", "generation": 1, "labels": {"fleet": "bench"}}
        cache.put(cluster | {"status": {"observedGeneration": 1, "packageVersion": OLD, "conditions": [ready]}})
        current = {"packageVersion": OLD, "by": "Spec", "at": now}
        cache.put(_object("ClusterRelease", "c", f"n{number}", spec={"current": current, "reached": OLD}))
    change, selector = {"clusterPackageVersion": NEW}, {"matchLabels": {"fleet": "bench"}}
    cache.put(_object("FleetRollout", "bench", spec={"change": change, "selector": selector, "stages": [{"name": "all", "rest": True}]}))
    meta: Any = MemoryMeta()
    business: Any = None
    return rollout_controllers(OperatorWorld(meta, cache, business, FileCatalogue()), lambda key: None)[0]


async def _cpu(controller: RolloutController, passes: int) -> tuple[float, ...]:
    """Seconds of CPU of each pass once the plan is frozen."""
    seconds = []
    for number in range(passes + 1):
        began = time.process_time()
        seen = await controller.observe(kinds.key_of("bench"))
        assert seen
        step = controller.next_step(seen)
        if number == 0:
            await controller.act(seen, step)
        assert number == 0 or controller.status_of(seen, step, None)
        seconds.append(time.process_time() - began)
    return tuple(seconds[1:])

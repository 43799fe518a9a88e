"""FleetRollout: one change, carried out over many clusters or pools of machines in stages, judged after each. Rules: docs/architecture.md, "Rollouts"."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from operators.api.analysis import Analysis
from operators.api.base import (
    LIST_SET,
    Column,
    Conditions,
    DnsLabel,
    DnsName,
    KindInfo,
    Model,
    ObservedGeneration,
    Resource,
    Scope,
    Text,
    Timestamp,
    cel,
    list_map,
    rules,
)
from operators.api.labels import LABEL_KEY, LabelValue
from operators.api.risk import Operation

LabelKey = Annotated[str, Field(pattern=LABEL_KEY, max_length=317)]
MatchLabels = Annotated[
    dict[str, LabelValue],
    Field(
        max_length=16,
        json_schema_extra=rules(
            cel(f"self.all(k, k.matches('{LABEL_KEY}'))", "a label's key is an optional DNS prefix and a name: example.org/env"),
        ),
    ),
]
ClusterKey = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z]([-a-z0-9]{0,30}[a-z0-9])?$",
        min_length=3,
        max_length=96,
    ),
]
"""A Cluster as namespace/name."""
PoolKey = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        min_length=3,
        max_length=127,
    ),
]
"""A MachinePool as namespace/name."""
Percent = Annotated[int, Field(ge=1, le=100)]
Seconds = Annotated[int, Field(ge=0, le=7 * 86400)]


class Mode(StrEnum):
    """Run does it; Plan only answers what it would do."""

    Run = "Run"
    Plan = "Plan"


class OnFail(StrEnum):
    """What a failed stage leads to."""

    Rollback = "Rollback"
    """What was changed goes back to what it had, by itself."""
    Pause = "Pause"
    """Nothing more is changed until a person decides; meanwhile the version is marked bad, and nobody else gets it."""


class Order(StrEnum):
    """A person's order to a rollout that was started; legal in every state."""

    Go = "Go"
    Pause = "Pause"
    """The member in hand is finished, nothing new starts."""
    Abort = "Abort"
    """Stop, and take back what this rollout changed."""
    Undo = "Undo"
    """As Abort, also when the rollout has already ended."""


class Change(Model):
    """What the members get: one of the two."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.clusterPackageVersion) != has(self.machinePackageVersion)",
                "a change is of clusters or of machines: give either clusterPackageVersion or machinePackageVersion",
            )
        )
    )

    cluster_package_version: DnsName | None = None
    """The ClusterPackageVersion that every member, a Cluster, gets."""
    machine_package_version: DnsName | None = None
    """The MachinePackageVersion that the machines of every member, a MachinePool, get in place of the one of the same component."""

    @property
    def to(self) -> str:
        """The version, whichever it is."""
        return self.cluster_package_version or self.machine_package_version or ""

    @property
    def of_machines(self) -> bool:
        """Whether the members are pools."""
        return self.machine_package_version is not None

    @property
    def operation(self) -> Operation:
        """What it is made of, as the risk centre counts it."""
        return Operation.ApplyPackage if self.of_machines else Operation.UpgradePlane


class MemberSelector(Model):
    """Which members: Clusters, or MachinePools of a change of machines. One must match every part that is given; nothing given selects nothing."""

    match_labels: MatchLabels = Field(default_factory=dict)
    """Labels that a member carries, all of them."""
    clusters: Annotated[tuple[ClusterKey, ...], Field(max_length=500, json_schema_extra=LIST_SET)] = ()
    """Clusters by namespace/name; of a change of machines: pools of these Clusters."""
    pools: Annotated[tuple[PoolKey, ...], Field(max_length=500, json_schema_extra=LIST_SET)] = ()
    """Of a change of machines: MachinePools by namespace/name."""


class MachineLimits(Model):
    """How a change of machines goes through each pool, beside the pool's own strategy."""

    max_unavailable: Annotated[int, Field(ge=1, le=200)] = 1
    """Hosts of one pool that may be out of service at once; never more than the pool's own update.maxUnavailable."""


class Stage(Model):
    """Members that are changed before the next ones, and what has to hold before those."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "[has(self.clusters) && self.clusters.size() > 0, has(self.pools) && self.pools.size() > 0, has(self.percent), "
                "has(self.rest) && self.rest].filter(x, x).size() == 1",
                "a stage names exactly one of clusters, pools, percent and rest",
            )
        )
    )

    name: DnsLabel
    """As it is shown and approved."""
    clusters: Annotated[tuple[ClusterKey, ...], Field(max_length=100, json_schema_extra=LIST_SET)] = ()
    """Canaries, by namespace/name."""
    pools: Annotated[tuple[PoolKey, ...], Field(max_length=100, json_schema_extra=LIST_SET)] = ()
    """Canaries of a change of machines, by namespace/name."""
    percent: Percent | None = None
    """Until this share of all members is changed, rounded down, at least one."""
    rest: bool = False
    """All that are left."""
    max_parallel: Annotated[int, Field(ge=1, le=100)] = 1
    """Members that are in the hands of this stage at once."""
    soak_seconds: Seconds = 600
    """How long the stage is watched after its last member is healthy."""
    failures_allowed: Annotated[int, Field(ge=0, le=100)] = 0
    """Failed members that do not fail the stage."""
    approval: bool = False
    """Whether a person has to say yes before it starts."""
    member_deadline_seconds: Annotated[int, Field(ge=30, le=86400)] = 1800
    """From a member's authorisation until it must be healthy at the new version."""


class Window(Model):
    """When new members may be started: from each time the cron expression names, for so long."""

    cron: Annotated[str, Field(min_length=9, max_length=128)]
    """Five fields, for example `0 22 * * 1-5`."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """An IANA name, for example Europe/Berlin; daylight saving is followed."""
    duration_seconds: Annotated[int, Field(ge=60, le=7 * 86400)]
    """How long it stays open."""


class DomainLimit(Model):
    """One failure domain after another, and at most so many members of it at once; forward and back."""

    label: LabelKey
    """Label of the Cluster whose value names its domain."""
    max_parallel: Annotated[int, Field(ge=1, le=100)] = 1
    """Members of one domain that are in hand at once."""
    at_once: Annotated[int, Field(ge=1, le=100)] = 1
    """Domains that have members in hand at once."""


class Undo(Model):
    """How a rollout goes back, by whomever that was decided. May be edited at any time."""

    max_parallel: Annotated[int, Field(ge=1, le=100)] | None = None
    """Members that are on their way back at once; absent: the most that any stage allows."""


class Said(Model):
    """Who ordered what the spec says now, and why. Admission keeps people from signing with another's name."""

    by: Annotated[str, Field(max_length=253)] = ""
    """User name; `kok` fills it in."""
    reason: Text = ""
    """Why, one sentence."""

    def ordered(self, what: str) -> str:
        """`jane ordered a pause (incident 42)`."""
        return f"{self.by or 'a person'} ordered {what}{f' ({self.reason})' if self.reason else ''}"


class FleetRolloutSpec(Model):
    """The change, its members, its stages; only `order`, `approvals`, `acceptedFailures`, `said`, `undo` and `windows` may be edited after it was started."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.change == oldSelf.change && self.selector == oldSelf.selector && self.stages == oldSelf.stages "
                "&& self.mode == oldSelf.mode && self.analysis == oldSelf.analysis && self.onFail == oldSelf.onFail && self.machines == oldSelf.machines "
                "&& has(self.perDomain) == has(oldSelf.perDomain) && (!has(self.perDomain) || self.perDomain == oldSelf.perDomain)",
                "a rollout is frozen when it is made; make another one under a new name (only order, approvals, acceptedFailures, said, undo and windows may be edited)",
            ),
            cel(
                "self.stages.filter(s, has(s.rest) && s.rest).size() <= 1 && (!self.stages.exists(s, has(s.rest) && s.rest) "
                "|| (has(self.stages[self.stages.size() - 1].rest) && self.stages[self.stages.size() - 1].rest))",
                "rest comes once, as the last stage",
            ),
            cel(
                "(has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.clusters) && self.selector.clusters.size() > 0) "
                "|| (has(self.selector.pools) && self.selector.pools.size() > 0)",
                "an empty selector selects nothing; give selector.matchLabels, selector.clusters or selector.pools",
                field=".selector",
            ),
            cel(
                "has(self.change.machinePackageVersion) ? self.stages.all(s, !has(s.clusters) || s.clusters.size() == 0) "
                ": (!has(self.selector.pools) || self.selector.pools.size() == 0) && self.stages.all(s, !has(s.pools) || s.pools.size() == 0)",
                "a change of machines names pools in its stages, a change of clusters names clusters",
            ),
        )
    )

    change: Change
    """What the members get."""
    selector: MemberSelector
    """Which Clusters."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=20, json_schema_extra=list_map("name"))]
    """In this order."""
    analysis: Analysis = Analysis()
    """How stages are judged."""
    windows: Annotated[tuple[Window, ...], Field(max_length=16, json_schema_extra=list_map("cron", "timeZone"))] = ()
    """When new members may be started; none means always."""
    per_domain: DomainLimit | None = None
    """One failure domain after another; none means that domains are not looked at."""
    machines: MachineLimits = MachineLimits()
    """Of a change of machines: how it goes through each pool."""
    on_fail: OnFail = OnFail.Rollback
    """What a failed stage leads to."""
    undo: Undo = Undo()
    """How it goes back."""
    mode: Mode = Mode.Run
    """Run, or Plan: only say what would be done."""
    order: Order = Order.Go
    """A person's order; legal in every state."""
    approvals: Annotated[tuple[DnsLabel, ...], Field(max_length=20, json_schema_extra=LIST_SET)] = ()
    """Stages that a person said yes to."""
    accepted_failures: Annotated[tuple[DnsLabel, ...], Field(max_length=20, json_schema_extra=LIST_SET)] = ()
    """Failed stages after which a person said to go on (with onFail: Pause): the version was not to blame, and its mark is lifted."""
    said: Said = Said()
    """Who ordered this, and why; goes into the records."""


class MemberPhase(StrEnum):
    """Where one member stands."""

    Waiting = "Waiting"
    InHand = "InHand"
    Healthy = "Healthy"
    Failed = "Failed"
    GoingBack = "GoingBack"
    Back = "Back"
    Skipped = "Skipped"


class MemberStatus(Model):
    """One line per member that is in hand or in trouble, or of a plan."""

    cluster: PoolKey
    """namespace/name of the Cluster, or of the MachinePool of a change of machines."""
    stage: Annotated[str, Field(max_length=63)] = ""
    """The stage it belongs to; empty if it was left out of the plan."""
    phase: MemberPhase
    message: Text = ""
    """Why; of a plan: what it would see, or why it would be refused."""


class MetricStatus(Model):
    """What one metric says of a stage."""

    name: Annotated[str, Field(max_length=63)]
    """`pod creation`, or the metric's own name."""
    verdict: Annotated[str, Field(max_length=16)]
    """PASS, FAIL, HOLD or INCONCLUSIVE."""
    message: Text = ""
    """Before, after, control, samples and the test's p; or why there are no numbers."""


class StageStatus(Model):
    """One line per stage."""

    name: DnsLabel
    """As in spec.stages."""
    members: Annotated[int, Field(ge=0)] = 0
    """How many it has."""
    healthy: Annotated[int, Field(ge=0)] = 0
    """How many are at the new version and healthy."""
    failed: Annotated[int, Field(ge=0)] = 0
    """How many failed, those taken back alone among them."""
    passed: bool = False
    """Whether it is over and the next one may begin."""
    verdict: Annotated[str, Field(max_length=16)] = ""
    """PASS, FAIL, HOLD, INCONCLUSIVE; empty while it is not judged."""
    message: Text = ""
    """The numbers behind the verdict, or what it waits for."""
    window_seconds: Annotated[int, Field(ge=0)] = 0
    """Length of the windows that are compared; 0 while nothing is."""
    test: Annotated[str, Field(max_length=255)] = ""
    """How the numbers are compared."""
    metrics: Annotated[tuple[MetricStatus, ...], Field(max_length=20, json_schema_extra=list_map("name"))] = ()
    """Each metric by itself, while the stage is judged."""


class Need(Model):
    """Leave that the whole plan takes at least."""

    operation: Operation
    count: Annotated[int, Field(ge=0)]
    """Grants of that operation."""


class FleetRolloutStatus(Model):
    """What was observed; displays only."""

    observed_generation: ObservedGeneration = 0
    """metadata.generation this was derived from."""
    phase: Annotated[str, Field(max_length=32)] = ""
    """Planned, Running, Soaking, Holding, Paused, RollingBack, Good, Bad, Aborted."""
    message: Text = ""
    """The reason of the last step, one sentence."""
    revision: Annotated[str, Field(max_length=64)] = ""
    """Digest of the frozen plan."""
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=20, json_schema_extra=list_map("name"))] = ()
    """One line per stage."""
    members: Annotated[tuple[MemberStatus, ...], Field(max_length=200, json_schema_extra=list_map("cluster"))] = ()
    """Members in hand, failed or skipped; with mode: Plan all, in the order of their turn, with what they would see. At most 200."""
    needs: Annotated[tuple[Need, ...], Field(max_length=16, json_schema_extra=list_map("operation"))] = ()
    """With mode: Plan: the grants that it takes."""
    total: Annotated[int, Field(ge=0)] = 0
    """Members in the plan."""
    changed: Annotated[int, Field(ge=0)] = 0
    """Members that were changed and are healthy."""
    measured_at: Timestamp | None = None
    """When the numbers in the messages were taken; they alone are brought up to date twice a minute."""
    started_at: Timestamp | None = None
    """When its first record was written; unset before."""
    ended_at: Timestamp | None = None
    """When it ended; unset before."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled."""


class FleetRollout(Resource):
    """One change over many Clusters, in stages, judged after each, taken back by itself when it is bad."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="fleetrollouts",
        short=("fro",),
        scope=Scope.Cluster,
        columns=(
            Column("To", ".spec.change.clusterPackageVersion"),
            Column("Machines", ".spec.change.machinePackageVersion"),
            Column("Phase", ".status.phase"),
            Column("Changed", ".status.changed", "integer"),
            Column("Total", ".status.total", "integer"),
            Column("Message", ".status.message", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["FleetRollout"] = "FleetRollout"
    spec: FleetRolloutSpec
    status: FleetRolloutStatus | None = None

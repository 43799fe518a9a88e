"""OperationBudget: how many dangerous acts may happen, at once and per window, in which scope. Decides nothing; domain/risk evaluates it.

Two different limits: `rate` counts operations in a sliding window, `concurrency` counts targets that are out of service at one time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from operators.api.base import (
    LIST_SET,
    Column,
    Conditions,
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
from operators.api.risk import BreakerPhase, Operation

MAX_WINDOW = 7 * 24 * 3600
"""Seconds: the Ledger remembers a week at most."""
ClusterPath = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=127)]
"""namespace/name of a Cluster."""


class Per(StrEnum):
    """What is counted together."""

    Fleet = "Fleet"
    """All selected clusters as one."""
    Cluster = "Cluster"
    FailureDomain = "FailureDomain"
    """A zone of one cluster; machines that name no zone are one domain."""
    Pool = "Pool"


class ClusterSelector(Model):
    """Which Clusters. One of the three; what selects nothing has to be said by having no budget."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "(has(self.all) && self.all ? 1 : 0) + (has(self.names) && size(self.names) > 0 ? 1 : 0) "
                "+ (has(self.matchLabels) && size(self.matchLabels) > 0 ? 1 : 0) == 1",
                "an empty selector selects nothing: set exactly one of all: true, names (namespace/name) or matchLabels",
            )
        )
    )

    all: bool = False
    """Every Cluster, also those to come."""
    names: Annotated[tuple[ClusterPath, ...], Field(max_length=200, json_schema_extra=LIST_SET)] = ()
    """namespace/name of each."""
    match_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = Field(default_factory=dict)
    """Labels that a Cluster must all have."""


class BudgetScope(Model):
    """Where it counts."""

    per: Per
    """What is counted together: Fleet, Cluster, FailureDomain or Pool."""
    clusters: ClusterSelector
    """Which Clusters it is about."""


class Rate(Model):
    """How many operations in any span of that length: an exact sliding window, no bucket that fills up while nothing happens."""

    count: Annotated[int, Field(ge=0, le=1000)]
    """Operations that may begin."""
    window_seconds: Annotated[int, Field(ge=60, le=MAX_WINDOW)]
    """Length of the span."""


class Concurrency(Model):
    """How many targets may be out of service at one time: those with a grant, those that are cordoned, those that are not healthy."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.count) || has(self.percent)", "set count, percent or both: without either nothing is limited"),
            cel(
                "!has(self.floor) || self.floor == 0 || has(self.percent)",
                "floor belongs to percent: remove it, or set percent",
                field=".floor",
            ),
            cel(
                "!has(self.count) || !has(self.floor) || self.floor <= self.count",
                "floor is above count, which is the most that is ever allowed: lower floor or raise count",
                field=".floor",
            ),
        )
    )

    count: Annotated[int, Field(ge=0, le=1000)] | None = None
    """At most so many, whatever percent says."""
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Of the scope's targets, rounded down; their number is frozen when a window begins."""
    floor: Annotated[int, Field(ge=0, le=1000)] = 0
    """Of percent: at least so many, so that a pool of 3 with 10 % may do 1. There are none without targets."""


class OnExceed(StrEnum):
    """What a request above the limit leads to."""

    Deny = "Deny"
    """It is denied, the next one may pass."""
    TripBreaker = "TripBreaker"
    """It is denied, and so is every forward operation until the breaker has closed again."""


class Kept(Model):
    """What is kept on top of the limits for one purpose."""

    rate: Annotated[int, Field(ge=0, le=1000)] = 0
    """Operations per window beyond rate.count."""
    concurrency: Annotated[int, Field(ge=0, le=1000)] = 0
    """Targets beyond the concurrency limit."""


class Reserve(Model):
    """What forward operations can never use up."""

    rollback: Kept = Field(default_factory=Kept)
    repair: Kept = Field(default_factory=Kept)


class StormRule(Model):
    """How many lost targets are a storm. Lost is, without anybody's leave and for a minute: a machine whose Node was Ready and is not, a pod of an
    etcd likewise; in the fleet's scope a plane whose API server is gone. Judged when somebody asks, where targets are looked at for a concurrency.
    """

    percent: Annotated[int, Field(ge=0, le=100)] = 30
    """Of the scope's targets, rounded down: so many lost within the window open the breaker. 0: never."""
    floor: Annotated[int, Field(ge=1, le=1000)] = 3
    """Fewer than this are no storm."""
    window_seconds: Annotated[int, Field(ge=120, le=86400)] = 600
    """Who was lost longer ago is old news."""


class BreakerRule(Model):
    """When it opens beside onExceed, and how it closes."""

    cool_down_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """Open for at least so long; doubled with every probe that failed, up to a day."""
    failure_percent: Annotated[int, Field(ge=1, le=100)] | None = None
    """Opens when of so many targets the last operation that ended in the window failed."""
    minimum_samples: Annotated[int, Field(ge=1, le=1000)] = 5
    """Fewer targets with an ended operation than this say nothing about failurePercent."""
    failed_rollouts: Annotated[int, Field(ge=0, le=100)] | None = None
    """Opens when so many FleetRollouts failed that had changed something in the scope by one of the operations, within the rate's window, else an
    hour. Absent: 1; in the fleet's scope only one that had reached more than 20 clusters. 0: never.
    """
    storm: StormRule = StormRule()
    """Opens when so many targets are lost that were in nobody's hands."""
    probe_seconds: Annotated[int, Field(ge=10, le=86400)] = 1800
    """Half open: a probe that has not succeeded by then has failed."""


class HoldMode(StrEnum):
    """A person's word over the breaker's."""

    ForcedOpen = "ForcedOpen"
    """Everything that the budget is about is denied, rollbacks and repairs excepted."""
    Disabled = "Disabled"
    """The breaker does not open; the limits still hold."""


class Hold(Model):
    """What a person latched, with a reason and an end."""

    mode: HoldMode
    reason: Annotated[str, Field(min_length=1, max_length=512)]
    """Why, for people."""
    until: Timestamp
    """It ends by itself."""
    by: Annotated[str, Field(max_length=253)] = ""
    """Who said so, for people."""
    scopes: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...], Field(max_length=64, json_schema_extra=LIST_SET)
    ] = ()
    """Only there, as status.scopes names them; empty: all of the budget."""


class Close(Model):
    """A person's word that what opened a breaker is dealt with (kok budget close)."""

    at: Timestamp
    """Breakers that opened until then are closed; what comes later opens them again."""
    scope: Annotated[str, Field(max_length=253)] = ""
    """As status.scopes names it; empty: all of the budget."""
    reason: Annotated[str, Field(min_length=1, max_length=512)]
    """Why, for people."""
    by: Annotated[str, Field(max_length=253)] = ""
    """Who said so, for people."""


class OperationBudgetSpec(Model):
    """Operations, scope, limits. Every budget that is about an operation must agree; without any the operation is denied."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.rate) || has(self.concurrency)", "set rate, concurrency or both: a budget without either limits nothing"),
            cel(
                "!has(self.breaker) || !has(self.breaker.failurePercent) || has(self.rate)",
                "breaker.failurePercent is judged over rate.windowSeconds: set rate",
                field=".breaker",
            ),
            cel(
                "!has(self.hold) || !has(self.hold.scopes) || self.hold.scopes.all(s, "
                "self.scope.per == 'Fleet' ? s == 'the fleet' : "
                "self.scope.per == 'Cluster' ? s.matches('^cluster [^/ ]+/[^/ ]+$') : "
                "self.scope.per == 'Pool' ? s.matches('^pool [^/ ]+/[^/ ]+$') : s.matches('^zone [^ ]+ of cluster [^/ ]+/[^/ ]+$'))",
                "hold.scopes are named as status.scopes names them: the fleet, cluster NAMESPACE/NAME, zone ZONE of cluster NAMESPACE/NAME, "
                "pool NAMESPACE/NAME, by scope.per",
                field=".hold",
            ),
        )
    )

    operations: Annotated[tuple[Operation, ...], Field(min_length=1, max_length=32, json_schema_extra=LIST_SET)]
    """Which acts are counted, all together."""
    scope: BudgetScope
    rate: Rate | None = None
    concurrency: Concurrency | None = None
    on_exceed: OnExceed = OnExceed.Deny
    """TripBreaker: an attempt to exceed stops everything forward in the scope."""
    reserve: Reserve = Field(default_factory=Reserve)
    breaker: BreakerRule = Field(default_factory=BreakerRule)
    hold: Hold | None = None
    """A person froze it, or disabled its breaker, until a given time (kok budget freeze)."""
    close: Close | None = None
    """A person closed its breakers (kok budget close)."""
    description: Text = ""
    """What it is for, for people."""


class ScopeUse(Model):
    """What one scope uses of a budget."""

    scope: Annotated[str, Field(max_length=253)]
    """As domain/risk/scopes.py writes it."""
    rate_used: Annotated[int, Field(ge=0)] = 0
    """Operations that count in the window."""
    rate_limit: Annotated[int, Field(ge=0)] | None = None
    """How many may; absent: no rate is set."""
    in_flight: Annotated[int, Field(ge=0)] = 0
    """Targets with a live grant; those that are out of service without one are seen when somebody asks."""
    concurrency_limit: Annotated[int, Field(ge=0)] | None = None
    """Absent: of a percentage that nobody asked for lately."""
    holders: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=10)] = ()
    """Who holds it, oldest first."""
    breaker: BreakerPhase | None = None
    breaker_reason: Text = ""
    """What opened it, of one that is not closed."""
    free_at: Timestamp | None = None
    """When the rate lets the next one pass, if it does not now."""


class OperationBudgetStatus(Model):
    """Displays only; rebuilt from the Ledger."""

    observed_generation: ObservedGeneration = 0
    """metadata.generation this was derived from."""
    used: Annotated[str, Field(max_length=64)] = ""
    """Of the busiest scope: operations in the window / targets in flight."""
    free: Annotated[str, Field(max_length=64)] = ""
    """What of the same is left there."""
    breaker: Annotated[str, Field(max_length=64)] = ""
    """Closed, Open, HalfOpen, ForcedOpen or Disabled: the worst of its scopes."""
    scopes: Annotated[tuple[ScopeUse, ...], Field(max_length=20, json_schema_extra=list_map("scope"))] = ()
    """The busiest scopes."""
    scope_count: Annotated[int, Field(ge=0)] = 0
    """How many scopes use anything."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled."""


class OperationBudget(Resource):
    """How many dangerous operations may happen in a scope, per window and at once."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="operationbudgets",
        short=("ob",),
        scope=Scope.Cluster,
        columns=(
            Column("Per", ".spec.scope.per"),
            Column("Operations", ".spec.operations", priority=1),
            Column("Used", ".status.used"),
            Column("Free", ".status.free"),
            Column("Breaker", ".status.breaker"),
            Column("Hold", ".spec.hold.mode"),
            Column("Message", ".status.conditions[?(@.type=='Ready')].message", priority=1),
            Column("Description", ".spec.description", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["OperationBudget"] = "OperationBudget"
    spec: OperationBudgetSpec
    status: OperationBudgetStatus | None = None

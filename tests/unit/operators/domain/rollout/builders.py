"""Rollouts, plans and members as tests need them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from operators.api.rollout import FleetRollout
from operators.domain.rollout.plan import Candidate, FrozenPlan, freeze
from operators.domain.rollout.verdict import Judgement, Verdict
from operators.domain.rollout.view import Hold, MemberFacts

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD, NEW = "kubernetes-1.34.4-r1", "kubernetes-1.35.4-r1"
PASS = Verdict(Judgement.PASS, "pod creation 99.90% -> 99.90%")
FAIL = Verdict(Judgement.FAIL, "pod creation 99.90% -> 12.00%")
HOLD = Verdict(Judgement.HOLD, "pod creation: no data (Prometheus answers 503)")


def rollout(*stages: dict[str, Any], **spec: Any) -> FleetRollout:
    """A rollout of env=prod; by default canary prod/c0, then half, then the rest."""
    chosen = stages or (
        {"name": "canary", "clusters": ["prod/c0"], "soakSeconds": 60},
        {"name": "half", "percent": 50, "maxParallel": 2, "soakSeconds": 60},
        {"name": "rest", "rest": True, "maxParallel": 2, "soakSeconds": 60},
    )
    fields = {"change": {"clusterPackageVersion": NEW}, "selector": {"matchLabels": {"env": "prod"}}, "stages": list(chosen)}
    return FleetRollout.parse({"kind": "FleetRollout", "metadata": {"name": "train", "uid": "u1"}, "spec": fields | spec})


def candidates(count: int, **labels: str) -> list[Candidate]:
    """Clusters prod/c0, prod/c1, ..."""
    return [Candidate(f"prod/c{number}", OLD, {"env": "prod", "zone": f"z{number % 3}", **labels}) for number in range(count)]


def frozen(made: FleetRollout, count: int = 6) -> FrozenPlan:
    """Its plan over so many clusters."""
    plan = freeze(made, candidates(count))
    assert isinstance(plan, FrozenPlan), plan
    return plan


def untouched() -> MemberFacts:
    """A member that nobody changed."""
    return MemberFacts(Hold.Free, OLD, START, healthy=True)

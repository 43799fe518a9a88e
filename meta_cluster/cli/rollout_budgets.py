"""What the budgets say of the leave that a plan takes: used, free, breaker, and how long the rate alone makes it last. Reads only; used by `kok plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meta_cluster.cli.access import Meta
from meta_cluster.cli.plan_view import BudgetLine
from meta_cluster.cli.rollout_view import is_of_machines
from meta_cluster.cli.times import now_utc, span_of
from operators.api.base import API_VERSION
from operators.api.budgets import OperationBudget, Per
from operators.domain.risk.display import breaker_words, free_words, scope_uses
from operators.domain.risk.scopes import ClusterId, selects
from operators.errors import KokError
from operators.ports.kube import Kind, Manifest
from operators.services.ledger import ledger_ref, read_ledger
from operators.services.risk_facts import BUDGET, CLUSTER

MACHINE_POOL = Kind(API_VERSION, "MachinePool")


async def budget_lines(meta: Meta, rollout: Manifest) -> list[BudgetLine]:
    """Every budget that is about a need of a plan's members; a line without a budget for a need that nobody allows."""
    status = rollout.get("status") or {}
    wanted = [(str(each["operation"]), int(each["count"])) for each in status.get("needs") or () if each["count"]]
    if not wanted:
        return []
    pools = (await meta.kube.list(MACHINE_POOL)).items
    members = _clusters_of(rollout, pools)
    theirs = scopes_of(members, pools)
    budgets = [OperationBudget.parse(each) for each in (await meta.kube.list(BUDGET)).items]
    clusters = [each["metadata"] for each in (await meta.kube.list(CLUSTER)).items]
    labels = {ClusterId(each["namespace"], each["name"]): each.get("labels") or {} for each in clusters}
    try:
        ledger = (await read_ledger(meta.kube, ledger_ref())).spec
    except KokError as error:
        return [BudgetLine(operation, count, "", f"denied: {error.message}") for operation, count in wanted]
    lines = []
    for operation, count in wanted:
        about = [
            each for each in budgets if operation in {every.value for every in each.spec.operations} and _is_theirs(each, members, labels)
        ]
        if not about:
            lines.append(BudgetLine(operation, count, "", "denied: no OperationBudget is about it"))
        for budget in sorted(about, key=lambda each: each.metadata.name):
            uses = tuple(use for use in scope_uses(budget, ledger, labels, now_utc()) if use.scope.rpartition(" of ")[2] in theirs)
            first = uses[0] if uses else None
            words = f"{free_words(budget, first)} free per {budget.spec.scope.per}, breaker {breaker_words(budget, uses, now_utc())}"
            lines.append(BudgetLine(operation, count, budget.metadata.name, words + _lasting(budget, count)))
    return lines


def _clusters_of(rollout: Manifest, pools: Iterable[Manifest]) -> list[ClusterId]:
    """The clusters of the plan's members; of a pool its own."""
    keys = [str(each["cluster"]) for each in rollout["status"].get("members") or () if each.get("stage")]
    if not is_of_machines(rollout):
        return [ClusterId(*key.split("/")) for key in keys]
    homes = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": _home_of(each) for each in pools}
    return [homes[key] for key in keys if key in homes]


def _home_of(pool: Manifest) -> ClusterId:
    return ClusterId(str(pool["metadata"]["namespace"]), str(pool["spec"]["clusterName"]))


def scopes_of(members: Iterable[ClusterId], pools: Iterable[Manifest]) -> set[str]:
    """What a plan's members count in, as the Ledger writes it (`risk.scopes.scope_of`, of a zone its cluster): what others use is not theirs."""
    clusters = set(members)
    places = (f"pool {each['metadata']['namespace']}/{each['metadata']['name']}" for each in pools if _home_of(each) in clusters)
    return {"the fleet", *(f"cluster {each}" for each in clusters), *places}


def _is_theirs(budget: OperationBudget, members: Iterable[ClusterId], labels: Mapping[ClusterId, Mapping[str, str]]) -> bool:
    return any(selects(budget.spec.scope.clusters, each, labels.get(each)) for each in members)


def _lasting(budget: OperationBudget, count: int) -> str:
    """How long a rate for the whole fleet makes it last, at least."""
    rate = budget.spec.rate
    if rate is None or budget.spec.scope.per is not Per.Fleet or not rate.count:
        return ""
    seconds = (count - 1) // rate.count * rate.window_seconds
    return f", so it takes at least {span_of(seconds)}" if seconds else ""

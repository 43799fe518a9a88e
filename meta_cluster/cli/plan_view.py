"""The answer of mode Plan as a person reads it: stages, members in order, the leave it takes, the pods it loses, what is refused. Pure; used by `kok plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meta_cluster.cli.conditions import conditions_in
from meta_cluster.cli.lines import counted, hanging
from meta_cluster.cli.rollout_view import is_of_machines, soak_of
from meta_cluster.cli.times import span_of
from operators.api.pending import Effect
from operators.domain.rollout.forecast import MEANINGS, OPERATION_OF
from operators.ports.kube import Manifest

PODS_SHOWN = 5
DRAINS = frozenset(operation.value for operation in OPERATION_OF.values())
"""What is asked for, once per machine, when its change drains it."""
EMPTIES = tuple(MEANINGS[effect] for effect in (Effect.Drain, Effect.Reboot, Effect.Reinstall))
"""What a member's sentence says where pods have to leave."""
COUNTED_LATER = (
    "free by the grants of now; what is out of service without a grant counts, too, when leave is asked for "
    "(kok budget explain Drain MACHINE -n NAMESPACE)"
)


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """What one budget says of one need."""

    operation: str
    needed: int
    budget: str
    """Empty: there is none, so the operation is denied."""
    words: str


@dataclass(frozen=True, slots=True)
class LostPods:
    """Pods of one cluster that nothing makes anew after a drain; or why nobody could look."""

    cluster: str
    pods: tuple[str, ...] = ()
    problem: str = ""

    @property
    def words(self) -> str:
        """One sentence."""
        if self.problem:
            return f"{self.cluster}: pods without a controller are lost by a drain; whether there are any is not known: {self.problem}"
        more = f" and {len(self.pods) - PODS_SHOWN} more" if len(self.pods) > PODS_SHOWN else ""
        what = counted(len(self.pods), "pod")
        return f"{self.cluster}: {what} without a controller on these machines will be lost: {', '.join(self.pods[:PODS_SHOWN])}{more}"


def empties_machines(member: Mapping[str, Any]) -> bool:
    """Whether a member's machines lose their pods on the way."""
    return any(f"({words})" in str(member.get("message") or "") for words in EMPTIES)


def is_idle(rollout: Manifest) -> bool:
    """Whether nobody is left to change."""
    return not any(stage.get("members") for stage in rollout["status"].get("stages") or ())


def is_refused(rollout: Manifest) -> bool:
    """Whether a rollout like this would be refused as a whole."""
    return conditions_in(rollout).get("Stalled", {}).get("status") == "True"


def plan_text(rollout: Manifest, budgets: Sequence[BudgetLine], lost: Sequence[LostPods] = (), *, width: int) -> str:
    """A plan: stages with members in order and what each would see, the leave it takes, what is lost, and what would be refused."""
    status, what = rollout["status"], "pool" if is_of_machines(rollout) else "cluster"
    lines = [hanging("Plan   ", str(status.get("message") or ""), width), ""]
    members = status.get("members") or ()
    for stage in status.get("stages") or ():
        wish = next(each for each in rollout["spec"]["stages"] if each["name"] == stage["name"])
        lines += _stage_lines(stage, [each for each in members if each.get("stage") == stage["name"]], _terms(wish), what, width)
    skipped = [each for each in members if each["phase"] == "Skipped"]
    lines += [hanging(f"skipped   {each['cluster']}   ", str(each.get("message") or ""), width) for each in skipped]
    lines += ["", *(hanging("Lost   ", each.words, width) for each in lost)] if lost else []
    if budgets:
        lines += ["", "Budgets", *(_budget_words(each, width) for each in budgets), hanging("  ", COUNTED_LATER, width)]
    refused = refused_in(rollout, budgets)
    lines += ["", "Refused", *(hanging("  ", each, width) for each in refused or ["nothing"])]
    return "\n".join(lines)


def _stage_lines(stage: Mapping[str, Any], own: Sequence[Mapping[str, Any]], terms: str, what: str, width: int) -> list[str]:
    total = int(stage.get("members") or 0)
    if not total:
        return [f"{stage['name']}   no {what} is left for it"]
    lines = [f"{stage['name']}   {counted(total, what)}, {terms}"]
    lines += [hanging(f"  {number}. {each['cluster']}   ", str(each.get("message") or ""), width) for number, each in enumerate(own, 1)]
    return lines + ([f"  ... and {total - len(own)} more"] if len(own) < total else [])


def _terms(wish: Mapping[str, Any]) -> str:
    parallel = int(wish.get("maxParallel") or 1)
    words = [f"{parallel} at a time", f"soak {span_of(soak_of(wish))}"]
    return ", ".join([*words, *(["waits for approval"] if wish.get("approval") else [])])


def _budget_words(each: BudgetLine, width: int) -> str:
    drains = " (with its drain)" if each.operation in DRAINS else ""
    return hanging(f"  {each.operation} x{each.needed}{drains}   ", f"{each.budget or 'no budget'}: {each.words}", width)


def refused_in(rollout: Manifest, budgets: Iterable[BudgetLine]) -> list[str]:
    """What would not be done, and why; of more members than a status shows, the sentence of the whole."""
    status = rollout.get("status") or {}
    members = status.get("members") or ()
    found = [f"{m['cluster']} {m['message']}" for m in members if str(m.get("message") or "").startswith("would be refused")]
    if is_refused(rollout) and not found:
        found = [str(status.get("message") or "")]
    return found + [f"{each.operation}: {each.words}" for each in budgets if not each.budget]

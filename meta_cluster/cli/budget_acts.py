"""What `kok budget` changes when a person says so: a hold on a budget, a breaker that is closed, the end of an act whose holder is gone. One write each."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from datetime import timedelta

from meta_cluster.cli.access import Meta, open_meta
from meta_cluster.cli.options import Access
from meta_cluster.cli.times import now_utc
from operators.api.base import API_VERSION
from operators.api.budgets import HoldMode, OperationBudget, Per
from operators.api.risk import BreakerPhase, Outcome
from operators.domain.risk.breaker import hold_of
from operators.domain.risk.identity import at, stamp
from operators.domain.risk.scopes import named_scope
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict, Kind, NotFound
from operators.services.ledger import ledger_ref, read_ledger
from operators.services.risk_facts import BUDGET, CLUSTER

GRANT = Kind(API_VERSION, "OperationGrant")
POOL = Kind(API_VERSION, "MachinePool")
SCOPES = {
    Per.Fleet: "the fleet",
    Per.Cluster: "cluster demo/demo",
    Per.FailureDomain: "zone a of cluster demo/demo",
    Per.Pool: "pool demo/workers",
}
"""As domain/risk/scopes.py writes them."""
SPAN = re.compile(r"^([1-9][0-9]{0,5})([smhd])$")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = timedelta(days=30)
TRIES = 5


def span_named(word: str) -> timedelta:
    """`90s`, `30m`, `2h`, `3d`. Raises KokError Usage for anything else, and for more than 30 days."""
    found = SPAN.match(word)
    if not found:
        raise KokError(ErrorCode.Usage, f"--for {word}: not a duration", "a number and s, m, h or d: 30m, 2h, 3d")
    span = timedelta(seconds=int(found[1]) * SECONDS[found[2]])
    if span > LONGEST:
        raise KokError(
            ErrorCode.Usage, f"--for {word}: longer than 30 days", "a hold is for an emergency; edit the budget's limits instead"
        )
    return span


async def held(access: Access, name: str, *, mode: str, reason: str, duration: str, scopes: Sequence[str] = ()) -> str:
    """Latch it, everywhere or in the scopes that are named; the sentence that says so. Raises KokError Usage, NotFound."""
    until = stamp(now_utc() + span_named(duration))
    if not reason.strip():
        raise KokError(ErrorCode.Usage, "--reason is empty", "say why: everybody who is denied will read it")
    hold = {"mode": mode, "reason": reason, "until": until, "by": getpass.getuser(), "scopes": list(scopes) or None}
    async with open_meta(access) as meta:
        budget = await _budget(meta, name)
        for scope in scopes:
            await _check_scope(meta, budget, scope)
        _refuse_lesser_hold(budget, mode, until, scopes)
        await meta.kube.patch_json(BUDGET.ref(name), {"spec": {"hold": hold}}, resource_version=budget.metadata.resource_version)
    what = "is frozen" if mode == "ForcedOpen" else "keeps its breaker closed"
    where = f" in {', '.join(scopes)}" if scopes else ""
    return f"OperationBudget {name} {what}{where} until {until}: {reason}"


async def _budget(meta: Meta, name: str) -> OperationBudget:
    found = await meta.kube.get(BUDGET.ref(name))
    if found is None:
        raise KokError(ErrorCode.NotFound, f"there is no OperationBudget {name}", "kok budget lists them")
    return OperationBudget.parse(found)


async def _check_scope(meta: Meta, budget: OperationBudget, scope: str) -> None:
    """A word that names nothing would freeze nothing."""
    per, name = budget.spec.scope.per, budget.metadata.name
    example = SCOPES[per]
    found = named_scope(per, scope)
    if found is None:
        raise KokError(ErrorCode.Usage, f"--scope {scope}: OperationBudget {name} counts per {per}", f'as in --scope "{example}"')
    if per is Per.Fleet:
        return
    kind = POOL if per is Per.Pool else CLUSTER
    if await meta.kube.get(kind.ref(found["name"], found["namespace"])) is None:
        raise KokError(
            ErrorCode.NotFound, f"--scope {scope}: there is no {kind.kind} {found['namespace']}/{found['name']}", "kok budget lists scopes"
        )


def _refuse_lesser_hold(budget: OperationBudget, mode: str, until: str, scopes: Sequence[str]) -> None:
    """A new hold takes the old one's place: what is frozen now must not be opened by it, neither elsewhere, nor sooner, nor by another word."""
    hold, name = hold_of(budget, now_utc()), budget.metadata.name
    if hold is None:
        return
    left = sorted({*hold.scopes} - {*scopes}) if hold.scopes else ["everywhere"]
    again = " ".join(f'--scope "{each}"' for each in left) if left != ["everywhere"] else ""
    over = f"kok budget unfreeze {name} first, if that is over"
    lesser = {
        f"which this one would end ({', '.join(left)})": (bool(scopes and left), f"name these scopes too: {again}" if again else over),
        "which would let pass what is frozen": (hold.mode is HoldMode.ForcedOpen and mode != HoldMode.ForcedOpen, over),
        f"which would end sooner ({until})": (at(until) < at(hold.until), f"a longer --for, or {over}"),
    }
    for words, (is_so, hint) in lesser.items():
        if is_so:
            where = ", ".join(hold.scopes) or "everywhere"
            raise KokError(ErrorCode.Usage, f"OperationBudget {name} has a hold already ({where}) until {hold.until}, {words}", hint)


async def released(access: Access, name: str) -> str:
    """Take the hold back; the sentence that says so."""
    await _patched(access, name, {"spec": {"hold": None}})
    return f"OperationBudget {name} holds by its limits again; who was denied asks again"


async def closed(access: Access, name: str, *, scope: str, reason: str) -> str:
    """Say that what opened its breakers is dealt with; the sentence that says so. Those that open later are not meant. Raises KokError Usage."""
    if not reason.strip():
        raise KokError(ErrorCode.Usage, "--reason is empty", "say what you saw: it stands in the event of the breaker")
    async with open_meta(access) as meta:
        ledger = (await read_ledger(meta.kube, ledger_ref())).spec
        found = [each for each in ledger.breakers if each.budget == name and each.phase is not BreakerPhase.Closed]
        meant = [each for each in found if scope in ("", each.scope)]
        if not meant:
            others = ", ".join(each.scope for each in found)
            where = f" in {scope} (there are in {others})" if others else f" in {scope}" if scope else ""
            raise KokError(ErrorCode.Usage, f"OperationBudget {name} has no open breaker{where}", "kok budget shows them")
        until = max((each.opened_at or each.since for each in meant), key=at)
    close = {"at": until, "scope": scope, "reason": reason, "by": getpass.getuser()}
    await _patched(access, name, {"spec": {"close": close}})
    scopes = ", ".join(each.scope for each in meant)
    return f"OperationBudget {name}: its breaker is closed in {scopes}: {reason}; who was denied asks again"


async def _patched(access: Access, name: str, patch: dict[str, object]) -> None:
    async with open_meta(access) as meta:
        try:
            await meta.kube.patch_json(BUDGET.ref(name), patch)
        except NotFound as error:
            raise KokError(ErrorCode.NotFound, f"there is no OperationBudget {name}", "kok budget lists them") from error


async def settled(access: Access, name: str, outcome: str) -> str:
    """Report it; the risk centre then frees the slot. Raises KokError NotFound, or Usage when there is nothing to settle."""
    if outcome not in set(Outcome):
        raise KokError(ErrorCode.Usage, f"--outcome {outcome}: no such outcome", f"one of {', '.join(Outcome)}")
    async with open_meta(access) as meta:
        for _ in range(TRIES):
            try:
                await _settle_once(meta, name, outcome)
            except Conflict:  # the risk centre wrote to it at that moment
                continue
            return f"OperationGrant {name} is reported as {outcome}; the risk centre frees its slot"
    raise KokError(ErrorCode.Conflict, f"OperationGrant {name} is written all the time; nothing was reported", "try it again")


async def _settle_once(meta: Meta, name: str, outcome: str) -> None:
    ref = GRANT.ref(name, meta.namespace)
    found = await meta.kube.get(ref)
    if found is None:
        raise KokError(ErrorCode.NotFound, f"there is no OperationGrant {meta.namespace}/{name}", f"kok get grants -n {meta.namespace}")
    if reported := found["spec"].get("outcome"):
        raise KokError(ErrorCode.Usage, f"OperationGrant {name} was reported as {reported} already", "there is nothing to settle")
    await meta.kube.patch_json(ref, {"spec": {"outcome": outcome}}, resource_version=found["metadata"]["resourceVersion"])

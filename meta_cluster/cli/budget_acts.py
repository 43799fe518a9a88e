"""What `kok budget` changes when a person says so: a hold on a budget, a breaker that is closed, the end of an act whose holder is gone. One write each."""

from __future__ import annotations

import getpass
import re
from datetime import timedelta

from meta_cluster.cli.access import Meta, open_meta
from meta_cluster.cli.options import Access
from meta_cluster.cli.times import now_utc
from operators.api.base import API_VERSION
from operators.api.risk import BreakerPhase, Outcome
from operators.domain.risk.identity import at, stamp
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict, Kind, NotFound
from operators.services.ledger import ledger_ref, read_ledger
from operators.services.risk_facts import BUDGET

GRANT = Kind(API_VERSION, "OperationGrant")
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


async def held(access: Access, name: str, *, mode: str, reason: str, duration: str) -> str:
    """Latch it; the sentence that says so."""
    until = stamp(now_utc() + span_named(duration))
    if not reason.strip():
        raise KokError(ErrorCode.Usage, "--reason is empty", "say why: everybody who is denied will read it")
    hold = {"mode": mode, "reason": reason, "until": until, "by": getpass.getuser()}
    await _patched(access, name, {"spec": {"hold": hold}})
    what = "is frozen" if mode == "ForcedOpen" else "keeps its breaker closed"
    return f"OperationBudget {name} {what} until {until}: {reason}"


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

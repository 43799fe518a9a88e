"""Does going back make it worse? From the probe pods of clusters that went back, before and after, beside those that did not (yet). Pure.

An undo skips soaks, so nobody waits for these numbers: they stop it when they are there and tell something, and say nothing otherwise. A
restarted operator has no numbers from before; then the health of each member is what is left. Rule: an undo stops if it makes things worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from operators.domain.rollout.evidence import POD_CREATION, SAMPLES, Samples, counts_of
from operators.domain.rollout.judging import at_home
from operators.domain.rollout.verdict import NOTHING, Counts, Limits, difference
from operators.domain.rollout.view import Hold, MemberFacts

LIMITS = Limits(floor=0.0, margin=0.05, min_samples=SAMPLES)


def worse(members: Mapping[str, MemberFacts], samples: Samples, homes: Mapping[str, str] | None, window: timedelta, now: datetime) -> str:
    """Why going back does harm, with its numbers; empty where it does not, or nobody can tell."""
    back = {key: facts for key, facts in members.items() if facts.hold is Hold.Back and facts.healthy}
    sent = at_home({key: facts.since for key, facts in back.items()}, homes)
    there = at_home({key: max(facts.since, facts.ready_since or facts.since) for key, facts in back.items()}, homes)
    if not sent:
        return ""
    before, after = NOTHING, NOTHING
    for cluster, moment in sent.items():
        before += counts_of(samples, [cluster], after=moment - window, until=moment)
        after += counts_of(samples, [cluster], after=max(there[cluster], now - window), until=now)
    others = [key for key in samples if key not in sent]
    first = min(sent.values())
    control = counts_of(samples, others, after=first - window, until=first), counts_of(samples, others, after=first, until=now)
    return _words(before, after, *control)


def _words(before: Counts, after: Counts, control_before: Counts, control_after: Counts) -> str:
    if min(before.total, after.total) < LIMITS.min_samples:
        return ""
    has_control = min(control_before.total, control_after.total) >= LIMITS.min_samples
    control = (control_before, control_after) if has_control else (NOTHING, NOTHING)
    change = difference(before, after, *control)
    if not change.is_surely_worse(LIMITS):
        return ""
    beside = f" (others {control_before.ratio:.2%} -> {control_after.ratio:.2%})" if has_control else ""
    return f"{POD_CREATION} {before.ratio:.2%} -> {after.ratio:.2%}{beside} in those that went back, n={after.total}, one-sided p={change.p_worse:.2g}"

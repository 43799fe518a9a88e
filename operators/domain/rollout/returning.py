"""Does going back make it worse? From the probe pods of clusters that went back, before and after, beside those that did not (yet). Pure.

An undo skips soaks, so nobody waits for these numbers: they stop it when they are there and tell something, and say nothing otherwise. A stop
is a record (`state`): numbers fade and are lost with the process, it stays. Without numbers the health of each member is what is left. Rule:
an undo stops if it makes things worse.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from operators.domain.rollout.evidence import POD_CREATION, SAMPLES, Samples, counts_of
from operators.domain.rollout.judging import at_home
from operators.domain.rollout.verdict import NOTHING, Counts, Limits, difference
from operators.domain.rollout.view import Hold, MemberFacts

LIMITS = Limits(floor=0.0, margin=0.05, min_samples=SAMPLES)


def worse(  # noqa: PLR0913 - numbers of whom, since when, beside whom
    members: Mapping[str, MemberFacts],
    samples: Samples,
    homes: Mapping[str, str] | None,
    window: timedelta,
    now: datetime,
    controls: Collection[str] = (),
) -> str:
    """Why going back does harm, with its numbers; empty where it does not, or nobody can tell. `controls`: clusters that are no members.

    Each cluster is its own measure: who has no pods from before or none since says nothing. Pods begun before a member was up again are not
    blamed on what it went back to.
    """
    back = {key: facts for key, facts in members.items() if facts.hold is Hold.Back and facts.healthy}
    sent = at_home({key: facts.since for key, facts in back.items()}, homes)
    there = at_home({key: max(facts.since, facts.ready_since or facts.since) for key, facts in back.items()}, homes)
    before, after = NOTHING, NOTHING
    for cluster, moment in sent.items():
        own = [one for one in samples.get(cluster, ()) if one.at <= moment or one.began > there[cluster]]
        both = (
            counts_of({cluster: own}, [cluster], after=moment - window, until=moment),
            counts_of({cluster: own}, [cluster], after=max(there[cluster], now - window), until=now),
        )
        if min(both[0].total, both[1].total) > 0:
            before, after = before + both[0], after + both[1]
    if not sent:
        return ""
    first = min(sent.values())
    others = _unchanged(members, homes, controls) - sent.keys()
    control = counts_of(samples, others, after=first - window, until=first), counts_of(samples, others, after=first, until=now)
    return _words(before, after, *control)


def _unchanged(members: Mapping[str, MemberFacts], homes: Mapping[str, str] | None, controls: Collection[str]) -> set[str]:
    """Clusters that nothing is done to meanwhile: who is on its way back, or in other hands, is no measure of anything."""
    restless = [key for key, facts in members.items() if facts.hold in (Hold.Back, Hold.Rival) or not facts.healthy]
    calm = members.keys() - set(restless)

    def at(keys: Collection[str]) -> set[str]:
        return {homes[key] for key in keys if key in homes} if homes is not None else set(keys)

    return (at(calm) | set(controls)) - at(restless)


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

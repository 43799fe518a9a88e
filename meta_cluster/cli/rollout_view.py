"""A FleetRollout as a person reads it: the live tree with its ETA, and what Git has to learn. Pure functions of objects and `now`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from meta_cluster.cli.console import Paint
from meta_cluster.cli.history_view import change_words
from meta_cluster.cli.times import age_of, span_of
from meta_cluster.cli.tree import Node
from operators.ports.kube import Manifest

GOOD = "Good"
ENDED = frozenset({GOOD, "Bad", "Aborted", "Undone"})
OVER = ENDED | {"Refused"}
"""Phases after which nothing more comes by itself."""
FINE = frozenset({GOOD, "Changing", "Soaking", "Planned"})
TROUBLE = frozenset({"Bad", "Failed", "GoingBack", "Refused"})
BACK = "Back"
UNPAINTED = frozenset({"Skipped", BACK})
SHOWN = 12
"""Members of one stage that are listed."""


def phase_of(rollout: Manifest) -> str:
    """The phase, if it speaks of the spec that is stored; else empty."""
    status = rollout.get("status") or {}
    seen = int(status.get("observedGeneration") or 0)
    return str(status.get("phase") or "") if seen >= int(rollout["metadata"].get("generation") or 0) else ""


def is_of_machines(rollout: Manifest) -> bool:
    """Whether its members are pools."""
    return "machinePackageVersion" in rollout["spec"]["change"]


def goal_of(rollout: Manifest) -> str:
    """The version that its members get."""
    change = rollout["spec"]["change"]
    return str(change.get("machinePackageVersion") or change.get("clusterPackageVersion") or "")


def rollout_tree(rollout: Manifest, now: datetime, *, following: bool = False) -> Node:
    """The whole tree."""
    status, phase = rollout.get("status") or {}, phase_of(rollout)
    stages = status.get("stages") or ()
    nodes = [_stage(line, status.get("members") or (), phase) for line in stages]
    if phase == "AwaitingApproval" and (index := stage_in_hand(stages)) is not None:
        approve = Node(f"kok rollout approve {rollout['metadata']['name']} {stages[index]['name']}", paint=Paint.Waiting)
        nodes[index] = replace(nodes[index], children=(approve,))
    skipped = [m for m in status.get("members") or () if m["phase"] == "Skipped" and not m.get("stage")]
    if skipped:
        names = tuple(Node(m["cluster"], m.get("message") or "") for m in skipped[:SHOWN])
        nodes.append(Node("skipped", f"{len(skipped)}", children=names))
    is_wrong = phase not in FINE
    paint = (Paint.Bad if phase in TROUBLE else Paint.Waiting) if is_wrong else None
    said = Node("now", str(status.get("message") or "no operator has looked at it yet"), is_wrong, paint=paint)
    back = f"leaves it running; come back with: {come_back(rollout['metadata']['name'])}"
    tail = (Node("Ctrl-C", back, paint=Paint.Dim),) if following and phase not in OVER else ()
    return Node(str(rollout["metadata"]["name"]), headline(rollout, now), is_wrong, (said, *nodes, *tail), paint)


def headline(rollout: Manifest, now: datetime) -> str:
    """`Soaking  stage 2/3 "half"  41m  ETA about 9m  3 of 12 changed  to ...`: what matters first, for a narrow terminal."""
    status, phase = rollout.get("status") or {}, phase_of(rollout)
    stages = status.get("stages") or ()
    index = stage_in_hand(stages)
    words = [phase or "not looked at yet"]
    if stages and phase not in OVER and index is not None:
        words.append(f'stage {index + 1}/{len(stages)} "{stages[index]["name"]}"')
    if status.get("startedAt"):
        words.append(age_of(status["startedAt"], datetime.fromisoformat(status["endedAt"]) if status.get("endedAt") else now))
    if status.get("startedAt") and phase not in OVER:
        left = seconds_left(rollout, now)
        words.append(f"ETA about {span_of(left)}" if left is not None else "ETA not known yet")
    if status.get("total"):
        words.append(f"{status.get('changed', 0)} of {status['total']} changed")
    words.append(f"to {change_words('', goal_of(rollout))}")
    return "  ".join(words)


def stage_in_hand(stages: Sequence[Mapping[str, Any]]) -> int | None:
    """Index of the first stage that is not passed; None when all are."""
    return next((index for index, each in enumerate(stages) if not each.get("passed")), None)


def seconds_left(rollout: Manifest, now: datetime) -> float | None:
    """What the rest takes at the pace so far: time per member that was changed, and the soaks to come. None before the first member."""
    status = rollout.get("status") or {}
    stages, changed = status.get("stages") or (), int(status.get("changed") or 0)
    if not changed or not status.get("startedAt"):
        return None
    wishes = {stage["name"]: stage for stage in rollout["spec"]["stages"]}
    spent = (now - datetime.fromisoformat(status["startedAt"])).total_seconds()
    index = stage_in_hand(stages)
    passed = stages[: index if index is not None else len(stages)]
    soaked = sum(soak_of(wishes.get(each["name"], {})) for each in passed)
    pace = max(0.0, spent - soaked) / changed
    left = 0.0
    for each in stages[len(passed) :]:
        wish = wishes.get(each["name"], {})
        waiting = max(0, int(each.get("members") or 0) - int(each.get("healthy") or 0) - int(each.get("failed") or 0))
        left += pace * waiting / int(wish.get("maxParallel") or 1) + soak_of(wish)
    return left


def soak_of(wish: Mapping[str, Any]) -> int:
    """Seconds that a stage is watched."""
    return int(wish.get("soakSeconds", 600))


def _stage(line: Mapping[str, Any], members: Iterable[Mapping[str, Any]], phase: str) -> Node:
    verdict, failed = str(line.get("verdict") or ""), int(line.get("failed") or 0)
    total, healthy = int(line.get("members") or 0), int(line.get("healthy") or 0)
    own = [each for each in members if each.get("stage") == line["name"]]
    if not total and phase in OVER:
        return Node(str(line["name"]), "nobody was left for it")
    begun = bool(verdict) or healthy or failed
    if verdict == "PASS" and own and all(each["phase"] == BACK for each in own):
        verdict = "PASS, then taken back"
    words = [verdict or ("" if begun else "waits"), f"{healthy}/{total} healthy" if phase != "Planned" else f"{total} members"]
    words += [f"{failed} failed"] if failed else []
    words += [_numbers(line)] if line.get("message") and phase != "Planned" else []
    text = "  ".join(word for word in words if word)
    shown = [_member(each) for each in own[:SHOWN]]
    more = [Node(f"({len(own) - SHOWN} more)", paint=Paint.Dim)] if len(own) > SHOWN else []
    return Node(str(line["name"]), text, verdict == "FAIL" or failed > 0, (*shown, *more), _paint_of(verdict))


def _numbers(line: Mapping[str, Any]) -> str:
    """The verdict's sentence; of what has passed only its first part: `kok rollout history` has the rest."""
    words = str(line["message"])
    return words.removeprefix(f"stage {line['name']} passed: ").partition("; ")[0] if line.get("passed") else words


def _paint_of(verdict: str) -> Paint | None:
    return {"PASS": Paint.Good, "HOLD": Paint.Waiting, "INCONCLUSIVE": Paint.Waiting}.get(verdict)


def _member(member: Mapping[str, Any]) -> Node:
    phase = str(member["phase"])
    text = f"{phase}{'  ' + member['message'] if member.get('message') else ''}"
    return Node(str(member["cluster"]), text, phase == "Failed", paint=Paint.Dim if phase in UNPAINTED else None)


def come_back(name: str) -> str:
    """The command that follows it again."""
    return f"kok rollout status {name} --follow"


def lagging(clusters: Iterable[Manifest], releases: Iterable[Manifest], rollout: str) -> list[tuple[str, str, str]]:
    """Clusters that this rollout authorised last and whose wish says something else: (namespace/name, wish, authorised)."""
    current = {_place(each): each["spec"]["current"] for each in releases}
    found = []
    for cluster in clusters:
        now = current.get(_place(cluster)) or {}
        wish = str(cluster["spec"].get("packageVersion") or "")
        if now.get("name") == rollout and now["packageVersion"] != wish:
            found.append((_place(cluster), wish, str(now["packageVersion"])))
    return sorted(found)


def _place(manifest: Manifest) -> str:
    return f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"


def lagging_pools(pools: Iterable[Manifest], releases: Iterable[Manifest], rollout: str) -> list[tuple[str, str, str]]:
    """Pools whose hosts have what this rollout ordered in place of what the pool wishes: (namespace/name, wish, ordered)."""
    there = {_place(each) for each in pools}
    orders = [(_place(each), order) for each in releases for order in each["spec"].get("orders") or ()]
    chosen = [(place, order) for place, order in orders if place in there and order["rollout"] == rollout]
    return sorted(
        (place, str(order["insteadOf"]), str(order["package"])) for place, order in chosen if order["insteadOf"] != order["package"]
    )


def pools_lag_text(found: Sequence[tuple[str, str, str]]) -> str:
    """What to commit for pools; empty when Git says what is."""
    lines = [
        f"  MachinePool {place}   {now} in place of {wish} (in spec.packages, or in the cluster's version)" for place, wish, now in found
    ]
    return "\n".join(["Commit to Git, where the wish lags behind what hosts have:", *lines]) if lines else ""


def lag_text(found: Sequence[tuple[str, str, str]]) -> str:
    """What to commit; empty when Git says what is."""
    if not found:
        return ""
    size = max(len(place) for place, _, _ in found)
    lines = [f"  Cluster {place.ljust(size)}   spec.packageVersion: {now}   (it says {wish})" for place, wish, now in found]
    return "\n".join(["Commit to Git, where the wish lags behind what is authorised:", *lines])

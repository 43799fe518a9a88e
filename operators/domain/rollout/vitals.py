"""What a plane says of itself, without anybody's Prometheus: API server answers, what its scheduler does, nodes that are ready. Pure.

Counters are read from the API server's own metrics by cluster_operator.rollout.gauging; here they become counts of a window. Several API servers
behind one address are told apart by when they started; a counter that began anew is another server. What was not there before a stage does not
judge it; what was and is missing later holds it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from operators.domain.rollout.metrics import MetricBaseline
from operators.domain.rollout.verdict import NOTHING, Counts, Limits, NoData, Reading

ANSWERS, BINDINGS, NODES = "API server answers", "pod bindings", "nodes ready"
LIMITS: Mapping[str, Limits] = {
    ANSWERS: Limits(0.0, 0.05, 100),
    BINDINGS: Limits(0.0, 0.05, 10),
    NODES: Limits(0.0, 0.05, 1),
}
"""No floor: a cluster may have had its troubles before; only what got worse is told."""
SOURCES: Mapping[str, tuple[str, str]] = {
    ANSWERS: ("apiserver_request_total of resources, code not 5xx", "apiserver_request_total of resources"),
    BINDINGS: ("apiserver_request_total of pods/binding, code 2xx", "apiserver_request_total of pods/binding, and pods that are stuck now"),
    NODES: ("Nodes with condition Ready True", "Nodes"),
}
SCHEDULER = "default-scheduler"
UNSEEN = timedelta(seconds=60)
"""A pod that the scheduler has not looked at for so long."""
UNREAD = "its API server's metrics are being read"
READINGS = 2
"""Of each cluster before a stage: counts are differences."""
STALE = timedelta(seconds=60)
"""A newest reading older than this tells nothing of now."""
LINE = re.compile(r'^apiserver_request_total\{[^}]*?\bcode="(\d+)"[^}]*\} (\S+)$')
STARTED = re.compile(r"^process_start_time_seconds (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Vitals:
    """One reading of one cluster. `server`: which API server answered; `problem`: why there is nothing; `is_denied`: it is none of our business there."""

    at: datetime
    server: str = ""
    answers: Counts = NOTHING
    bindings: Counts = NOTHING
    nodes: Counts = NOTHING
    stuck: int = 0
    """Pods at which the scheduler ended with an error of its own, or did not look at all: what comes of them is no binding."""
    problem: str = ""
    is_denied: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """So many seconds up to now."""

    seconds: int
    now: datetime

    @property
    def began(self) -> datetime:
        """Its beginning."""
        return self.now - timedelta(seconds=self.seconds)


Manifest = Mapping[str, Any]
Book = Mapping[str, Sequence[Vitals]]
"""Cluster (namespace/name) -> its readings, oldest first."""


def stuck_of(pods: Iterable[Manifest], now: datetime) -> int:
    """Of pods without a node those that its scheduler failed. One that fits nowhere, or is held back by a gate, is no fault of it."""
    return sum(_is_stuck(each, now) for each in pods)


def _is_stuck(pod: Manifest, now: datetime) -> bool:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    if spec.get("schedulerName", SCHEDULER) != SCHEDULER or spec.get("nodeName") or metadata.get("deletionTimestamp"):
        return False
    said = next((each for each in status.get("conditions") or () if each.get("type") == "PodScheduled"), None)
    if said is None:
        return now - datetime.fromisoformat(metadata["creationTimestamp"]) > UNSEEN
    return bool(said.get("reason") == "SchedulerError")


def vitals_of(text: str, nodes: Counts, at: datetime, *, stuck: int = 0) -> Vitals:
    """The reading in an API server's metrics; one without the counter, or with numbers that are none, has a problem. Health checks are no requests."""
    started = STARTED.search(text)
    answers = bindings = NOTHING
    for line in text.splitlines():
        if not line.startswith("apiserver_request_total{") or ',resource=""' in line or not (found := LINE.match(line)):
            continue
        count = _number(found[2])
        if count is None:
            return Vitals(at, problem=f"its metrics say {found[2]} where a count belongs")
        answers += Counts(0 if found[1].startswith("5") else count, count)
        if ',resource="pods"' in line and 'subresource="binding"' in line:
            bindings += Counts(count if found[1].startswith("2") else 0, count)
    if started is None or not answers.total:
        return Vitals(at, problem="its metrics have no apiserver_request_total or no process_start_time_seconds")
    return Vitals(at, started[1], answers, bindings, nodes, stuck)


def _number(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if math.isfinite(value) and value >= 0 else None


def readings_of(found: Sequence[Vitals], after: datetime, now: datetime) -> Mapping[str, Counts] | NoData:
    """What happened in one cluster since then, by metric: nothing yet, right after it. Without a fresh reading there is no data."""
    good = [each for each in found if not each.problem]
    if not good or good[-1].at <= now - STALE:
        return NoData(next((each.problem for each in reversed(found) if each.problem), UNREAD))
    since = [each for each in good if each.at > after]
    answers = bindings = NOTHING
    for server in {each.server for each in since}:
        own = [each for each in since if each.server == server]
        answers += _since(own[0].answers, own[-1].answers)
        bindings += _since(own[0].bindings, own[-1].bindings)
    if since:
        bindings += Counts(0, since[-1].stuck)
    return {ANSWERS: answers, BINDINGS: bindings, NODES: since[-1].nodes if since else NOTHING}


def _since(first: Counts, last: Counts) -> Counts:
    return Counts(last.good - first.good, last.total - first.total)


def vitals_before(book: Book, groups: tuple[Sequence[str], Sequence[str]], span: Span) -> Mapping[str, MetricBaseline] | NoData:
    """The baseline of a stage. A cluster that lets nobody read them has none, and is not judged by them; a control in trouble is no control."""
    stage, controls = groups
    own = _read(book, [key for key in stage if not _is_denied(book.get(key, ()))], span)
    others = _read(book, [key for key in controls if not _is_denied(book.get(key, ()))], span)
    for key, found in own.items():
        if isinstance(found, NoData):
            return NoData(f"{key}: {found.reason}")
    if unread := [key for key in others if not book.get(key)]:
        return NoData(f"{unread[0]}: {UNREAD}")
    if not own:
        return {}
    having = {key: found for key, found in others.items() if not isinstance(found, NoData)}
    before, beside = _sums(own.values()), _sums(having.values())
    return {name: MetricBaseline(before[name], beside[name], span.seconds, *SOURCES[name], tuple(having)) for name in LIMITS}


def _read(book: Book, group: Iterable[str], span: Span) -> Mapping[str, Mapping[str, Counts] | NoData]:
    """Each cluster with enough readings to make differences of; without them it has no data yet."""
    found: dict[str, Mapping[str, Counts] | NoData] = {}
    for key in group:
        one = readings_of(book.get(key, ()), span.began, span.now)
        enough = sum(not each.problem and each.at > span.began for each in book.get(key, ())) >= READINGS
        found[key] = one if enough or isinstance(one, NoData) else NoData(UNREAD)
    return found


def _sums(found: Iterable[Mapping[str, Counts] | NoData]) -> Mapping[str, Counts]:
    counts = [each for each in found if not isinstance(each, NoData)]
    return {name: _sum(each[name] for each in counts) for name in LIMITS}


def _is_denied(found: Sequence[Vitals]) -> bool:
    return bool(found) and all(each.is_denied for each in found)


def _sum(counts: Iterable[Counts]) -> Counts:
    return sum(counts, NOTHING)


def vitals_after(
    book: Book, changed: Mapping[str, datetime], controls: Sequence[str], span: Span, before: Mapping[str, MetricBaseline]
) -> Mapping[str, tuple[Reading, Reading]]:
    """Metric -> what the changed clusters show since their change, within the window, and what the controls of the baseline do that still are some."""
    names = [name for name in LIMITS if name in before]
    if not names or not changed:
        return {}
    own = {key: max(since, span.began) for key, since in changed.items()}
    others = dict.fromkeys([key for key in before[names[0]].controls if key in controls], min(own.values()))
    stage, control = (_together(book, group, span.now) for group in (own, others))
    return {name: (_one(stage, name), _one(control, name)) for name in names}


def _together(book: Book, since: Mapping[str, datetime], now: datetime) -> list[Mapping[str, Counts]] | NoData:
    found = []
    for key, after in since.items():
        if _is_denied(book.get(key, ())):
            continue
        one = readings_of(book.get(key, ()), after, now)
        if isinstance(one, NoData):
            return NoData(f"{key}: {one.reason}")
        found.append(one)
    return found


def _one(found: list[Mapping[str, Counts]] | NoData, name: str) -> Reading:
    return found if isinstance(found, NoData) else _sum(each[name] for each in found)


def tells(name: str, reading: Reading) -> bool:
    """Whether it is judged: too few events of these say nothing, and the probe's pods are there to be judged instead."""
    return isinstance(reading, NoData) or reading.total >= LIMITS[name].min_samples

"""What was changed, as a table: one line per change of a cluster, per order, per end of a rollout. Pure; used by `kok history`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meta_cluster.cli.lines import hanging
from meta_cluster.cli.tables import Table
from operators.ports.kube import Manifest

Entry = Mapping[str, Any]
UNDER_WAY = "under way"
NOT_REPORTED = "not reported"
HEADINGS = ("WHEN (UTC)", "WHAT", "CHANGE", "BY", "OUTCOME")
WIDE_HEADINGS = ("WHEN", "WHAT", "SUBJECT", "FROM", "TO", "BY", "OUTCOME")
WIDE = ("WHY", "VERDICTS", "GRANTS")
IDENTITY = ("kind", "subject", "at", "ended", "to", "outcome", "event", "stage")
"""What two entries differ in; the same record may be read twice."""
VERSIONED = re.compile(r"^(.+?)-(\d.*)$")
LAB = re.compile(r"-lab-[0-9a-f]+$")
REVISED = re.compile(r"-r[0-9]+$")
EVENTS = {
    "StageStarted": "stage {stage} begins",
    "Joined": "clusters that came later join the last stage",
    "StageHealthy": "stage {stage} is healthy, its soak begins",
    "StageFailed": "stage {stage} failed",
    "FailureAccepted": "the failure of stage {stage} is accepted",
    "StagePassed": "stage {stage} passed",
    "GoingBack": "it goes back",
    "Ended": "ended {outcome}",
}
"""What happened to a rollout, in words."""


def is_about(entry: Entry, name: str, namespace: str = "") -> bool:
    """Whether an entry belongs to what `name` means: a cluster (name, namespace/name, cluster/...), a rollout (name, rollout/...); empty: all.

    With a namespace only what is in it: clusters and pools.
    """
    if namespace and (entry["kind"] not in ("Cluster", "Pool") or not str(entry["subject"]).startswith(f"{namespace}/")):
        return False
    kind, _, rest = name.partition("/")
    if kind == "rollout" and rest:
        return entry.get("rollout") == rest
    if kind == "cluster" and rest:
        name = rest
    subject = str(entry["subject"])
    if not name:
        return True
    of_cluster = entry["kind"] in ("Cluster", "Pool") and name in (subject, subject.partition("/")[2])
    return of_cluster or (kind != "cluster" and entry.get("rollout") == name)


def names_of(entry: Entry) -> list[str]:
    """What an entry may be asked for by: subject, its name alone, its rollout."""
    subject = str(entry["subject"])
    return [each for each in (subject, subject.partition("/")[2], str(entry.get("rollout") or "")) if each]


def under_way(releases: Iterable[Manifest], ended: Iterable[Entry]) -> list[Entry]:
    """Changes of clusters that no record tells of yet."""
    told = {(each["subject"], each["at"], each.get("to")) for each in ended if each["kind"] == "Cluster"}
    found: list[Entry] = []
    for release in releases:
        current, metadata = release["spec"]["current"], release["metadata"]
        subject = f"{metadata['namespace']}/{metadata['name']}"
        if (subject, current["at"], current["packageVersion"]) in told:
            continue
        entry = {
            "kind": "Cluster",
            "subject": subject,
            "at": current["at"],
            "by": current["by"],
            "rollout": current.get("name", ""),
            "from": current.get("from", ""),
            "to": current["packageVersion"],
            "why": current.get("reason", ""),
            "outcome": UNDER_WAY,
        }
        found.append({key: value for key, value in entry.items() if value})
    return found


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Oldest first, each once; a rollout's end stands where it ended."""
    unique = {tuple(str(each.get(name, "")) for name in IDENTITY): each for each in entries}
    return sorted(unique.values(), key=lambda each: (moment_of(each), str(each["subject"])))


def moment_of(entry: Entry) -> str:
    """When it was, as it is sorted and shown: of a rollout its end, of all else the beginning."""
    return str(entry.get("ended") or entry["at"]) if entry["kind"] == "Rollout" else str(entry["at"])


def with_outcomes(entries: Iterable[Entry], grants: Iterable[Manifest]) -> list[Entry]:
    """The same; grants that were not reported on when the record was written have the outcome that came since, as long as they are there."""
    since = {str(each["metadata"]["name"]): str(each["spec"].get("outcome") or "") for each in grants}

    def told(grant: Mapping[str, Any]) -> Mapping[str, Any]:
        later = since.get(str(grant["name"])) if grant["outcome"] == NOT_REPORTED else ""
        return {**grant, "outcome": later} if later else grant

    return [{**each, "grants": [told(grant) for grant in each["grants"]]} if each.get("grants") else each for each in entries]


def history_table(entries: Sequence[Entry], *, wide: bool) -> Table:
    """For a person: short versions, one line each; `wide` has the whole names, why, verdicts and grants."""
    if wide:
        return Table((*WIDE_HEADINGS, *WIDE), tuple((*_cells(each), *_wide(each)) for each in entries))
    return Table(HEADINGS, tuple(_short_cells(each) for each in entries))


def _short_cells(entry: Entry) -> tuple[str, ...]:
    subject = f"{str(entry['kind']).lower()} {entry['subject']}"
    change = change_words(str(entry.get("from") or ""), str(entry.get("to") or ""))
    return shown_at(moment_of(entry))[:16], subject, change, _by(entry) or who_of(entry), str(entry.get("outcome") or "")


def who_of(entry: Entry) -> str:
    """A person; of a wish only what wrote it is known, the field manager: `via flux`. An API audit log says more."""
    who = str(entry.get("who") or "")
    of_wish = entry["kind"] in ("Cluster", "Pool") and not entry.get("rollout")
    return f"via {who}" if who and of_wish else who


def shown_at(stamp: str) -> str:
    """`2026-03-01 12:41:07`."""
    return stamp.replace("T", " ")[:19]


def change_words(start: str, end: str) -> str:
    """`1.34.4 -> 1.35.4` of two package versions; of several the first pair, named by its component, and how many more."""
    before, after = (_by_component(names) for names in (start, end))
    components = [*after, *(name for name in before if name not in after)]
    if not components or not all(map(VERSIONED.match, filter(None, (*start.split(", "), *end.split(", "))))):
        return " -> ".join(filter(None, (start, end)))
    first = components[0]
    old, new = _told_apart(before.get(first, ""), after.get(first, ""))
    way = f"{old} -> {new or 'nothing'}" if old else new
    label = "" if first == "kubernetes" else f"{first} "
    more = f" (+{len(components) - 1})" if len(components) > 1 else ""
    return f"{label}{way}{more}"


def _by_component(names: str) -> dict[str, str]:
    """Component -> version, of `kubelet-1.35.4-r1, runc-1.1.5-r1`; of a component twice (a rollout from several versions) the first."""
    found: dict[str, str] = {}
    for name in names.split(", "):
        if match := VERSIONED.match(name):
            found.setdefault(match[1], match[2])
    return found


def _told_apart(old: str, new: str) -> tuple[str, str]:
    """Without the lab's digests and a revision that both have, unless they are the difference."""
    short = LAB.sub("", old), LAB.sub("", new)
    if short[0] == short[1]:
        return old, new
    bare = REVISED.sub("", short[0]), REVISED.sub("", short[1])
    is_shared = all(short) and bare[0] != bare[1] and short[0].removeprefix(bare[0]) == short[1].removeprefix(bare[1])
    return bare if is_shared else short


def _by(entry: Entry) -> str:
    """The rollout that did it; empty when a person's wish did."""
    if not entry.get("rollout") or entry["kind"] not in ("Cluster", "Pool"):
        return ""
    return f"undo of {entry['rollout']}" if entry.get("by") == "Undo" else f"rollout {entry['rollout']}"


def _cells(entry: Entry) -> tuple[str, ...]:
    who = who_of(entry)
    by = _by(entry) or ("spec" if entry.get("by") == "Spec" else "")
    told = f"{who}{f' ({by})' if by else ''}" if who else by
    what = str(entry.get("event") or entry["kind"]).lower()
    outcome = str(entry.get("outcome") or entry.get("stage") or "")
    return moment_of(entry), what, str(entry["subject"]), str(entry.get("from") or ""), str(entry.get("to") or ""), told, outcome


def _wide(entry: Entry) -> tuple[str, ...]:
    grants = ", ".join(f"{each['operation']} {each['target']} {each['outcome']}" for each in entry.get("grants") or ())
    return str(entry.get("why") or ""), "; ".join(entry.get("verdicts") or ()), grants


def story_text(entries: Sequence[Entry], width: int) -> str:
    """One rollout from its first order to its end: what happened, when, with the numbers it was judged by."""
    ends = {str(each["at"]) for each in entries if each.get("event") == "Ended"}
    told = [each for each in entries if not (each["kind"] == "Rollout" and moment_of(each) in ends)]
    return "\n".join(hanging(f"{shown_at(moment_of(each))}   ", story_words(each), width) for each in told)


def story_words(entry: Entry) -> str:
    """One line of it."""
    why, outcome, who = (str(entry.get(name) or "") for name in ("why", "outcome", "who"))
    if entry["kind"] == "Order":
        head, why = f"{who or 'somebody'}: {outcome}", why
    elif entry["kind"] == "Event":
        head = EVENTS.get(str(entry["event"]), str(entry["event"])).format(stage=entry.get("stage", ""), outcome=outcome).rstrip()
        why = why.removeprefix(f"{head}: ")
    else:
        change = change_words(str(entry.get("from") or ""), str(entry.get("to") or ""))
        head = f"{str(entry['kind']).lower()} {entry['subject']} {change} {outcome}".rstrip()
    return f"{head}: {why}" if why and why != head else head

"""What was changed, as a table: one line per change of a cluster, per order, per end of a rollout. Pure; used by `kok history`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meta_cluster.cli.tables import Table
from operators.ports.kube import Manifest

Entry = Mapping[str, Any]
UNDER_WAY = "under way"
HEADINGS = ("WHEN", "WHAT", "SUBJECT", "FROM", "TO", "BY", "OUTCOME")
WIDE = ("WHY", "VERDICTS", "GRANTS")


def is_about(entry: Entry, name: str) -> bool:
    """Whether an entry belongs to what `name` means: a cluster (name, namespace/name, cluster/...), a rollout (name, rollout/...); empty: all."""
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
    """Oldest first, each once."""
    unique = {(each["kind"], each["subject"], each["at"], each.get("to"), each.get("outcome"), each.get("event")): each for each in entries}
    return sorted(unique.values(), key=lambda each: (str(each["at"]), str(each["subject"])))


def history_table(entries: Sequence[Entry], *, wide: bool) -> Table:
    """For a person; `wide` adds why, verdicts and grants in full."""
    rows = [(*_cells(each), *(_wide(each) if wide else ())) for each in entries]
    return Table((*HEADINGS, *(WIDE if wide else ())), tuple(rows))


def _cells(entry: Entry) -> tuple[str, ...]:
    who = str(entry.get("who") or "")
    by = "spec" if entry.get("by") == "Spec" else f"rollout {entry['rollout']}" if entry.get("rollout") else ""
    by = f"undo of {entry['rollout']}" if entry.get("by") == "Undo" else by
    told = f"{who}{f' ({by})' if by and entry['kind'] in ('Cluster', 'Pool') else ''}" if who else by
    what = str(entry.get("event") or entry["kind"]).lower()
    outcome = str(entry.get("outcome") or entry.get("stage") or "")
    return str(entry["at"]), what, str(entry["subject"]), str(entry.get("from") or ""), str(entry.get("to") or ""), told, outcome


def _wide(entry: Entry) -> tuple[str, ...]:
    grants = ", ".join(f"{each['operation']} {each['target']} {each['outcome']}" for each in entry.get("grants") or ())
    return str(entry.get("why") or ""), "; ".join(entry.get("verdicts") or ()), grants

"""Condition ConfigMaps and their reporters' Leases, read as reports. Pure; called by observe. What is malformed is kept, with its fault in words.

A report is bounded before anybody looks into it: what admission would refuse is refused here again, since admission can be switched off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operators.domain.machine.times import parse_time

CONDITIONS_NAMESPACE = "kok-conditions"
FIELDS = frozenset({"type", "status", "reason", "message", "reporter", "bootID"})
STATUSES = ("True", "False", "Unknown")
MESSAGE_LIMIT = 1024
REPORT_LIMIT = 4096
"""Characters of a whole report."""
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_REASON = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,127})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class GateReport:
    """One condition ConfigMap of a machine. `renewed` is its reporter's last Lease renewal (None: no Lease), `fault` why it is no report."""

    name: str
    type: str
    status: str
    reason: str
    message: str
    reporter: str
    boot_id: str
    """Boot of the host that it is about; empty: it does not say."""
    created: datetime | None
    renewed: datetime | None
    fault: str = ""


def gate_report_of(manifest: Mapping[str, Any], renewed: Mapping[str, datetime]) -> GateReport:
    """A condition ConfigMap as a report; `renewed` is the last renewal by reporter."""
    metadata, data = manifest.get("metadata") or {}, manifest.get("data") or {}
    reporter = str(data.get("reporter", ""))
    fault = _fault(manifest, data)
    return GateReport(
        name=str(metadata.get("name", "")),
        type=str(data.get("type", ""))[:63],
        status=str(data.get("status", ""))[:16],
        reason=str(data.get("reason", ""))[:128],
        message=_CONTROL.sub(" ", str(data.get("message", ""))[:MESSAGE_LIMIT]),
        reporter=reporter[:253],
        boot_id=str(data.get("bootID", ""))[:64],
        created=parse_time(str(metadata.get("creationTimestamp") or "")),
        renewed=renewed.get(reporter),
        fault=fault,
    )


def _fault(manifest: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What is wrong with its form, the first thing; empty if nothing is."""
    size = sum(len(str(key)) + len(str(value)) for key, value in data.items())
    if manifest.get("binaryData") or size > REPORT_LIMIT or len(str(data.get("message", ""))) > MESSAGE_LIMIT:
        return f"is larger than a report may be ({REPORT_LIMIT} characters, {MESSAGE_LIMIT} of them in message)"
    if unknown := sorted(set(data) - FIELDS):
        return f"has the field {str(unknown[0])[:63]!r}, which no report has"
    if missing := [field for field in ("type", "status", "reporter") if not data.get(field)]:
        return f"has no {missing[0]}"
    if not _TYPE.fullmatch(str(data["type"])):
        return "has a type that is not letters and digits"
    if data["status"] not in STATUSES:
        return f"has the status {str(data['status'])[:16]!r} instead of {', '.join(STATUSES)}"
    return "" if _REASON.fullmatch(str(data.get("reason", ""))) else "has a reason that is not one word"


def renewals(leases: Iterable[Mapping[str, Any]]) -> dict[str, datetime]:
    """When each reporter renewed its Lease last; of several Leases the youngest renewal counts, they are all its own."""
    found: dict[str, datetime] = {}
    for lease in leases:
        spec = lease.get("spec") or {}
        holder, moment = spec.get("holderIdentity") or "", parse_time(spec.get("renewTime") or "")
        if holder and moment and moment > found.get(holder, datetime.min.replace(tzinfo=moment.tzinfo)):
            found[holder] = moment
    return found

"""What a rollout must not forget, as immutable ControllerRevisions in kok's own namespace: its frozen plan, its records, versions found bad.

A record is created under its number, so of two writers one wins and the other gets Conflict. Nothing here is ever changed; all but the bad versions
goes with its FleetRollout. Reads are live: a rollout never acts on a cached story. Called by observe and act.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from operators.api.base import GROUP, LABEL_MANAGED_BY, MANAGED_BY
from operators.api.rollout import FleetRollout, Said
from operators.domain.rollout.bad import BadMark
from operators.domain.rollout.plan import FrozenPlan, PlannedMember, PlannedStage
from operators.domain.rollout.story import Record, record_of
from operators.errors import ErrorCode, KokError
from operators.ports.kube import AlreadyExists, Conflict, Kind, KubePort, Manifest

REVISION = Kind("apps/v1", "ControllerRevision")
LABEL_ROLLOUT = f"{GROUP}/rollout"
LABEL_PART = f"{GROUP}/journal"
PLAN, SHARD, RECORD, BAD, NOT_BAD, REFUSAL = "plan", "plan-shard", "record", "bad-version", "not-bad-version", "refusal"
SHARD_MEMBERS = 500
"""Members in one object: some 50 KiB."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no that was told, and is not taken back: whoever read it went away."""

    code: ErrorCode
    reason: str


@dataclass(frozen=True, slots=True)
class Journal:
    """Everything that is written down of one rollout. `plan` is None until it was frozen; `refusals`: by generation of the spec."""

    plan: FrozenPlan | None = None
    records: tuple[Record, ...] = ()
    refusals: Mapping[int, Refusal] = field(default_factory=dict)


class JournalBook:
    """Reads and writes journals."""

    def __init__(self, meta: KubePort, namespace: str) -> None:
        self._meta, self._namespace = meta, namespace

    async def read(self, rollout: FleetRollout) -> Journal:
        """The journal of this very rollout; one of the same name before it has another uid and is not read. Raises KokError."""
        listing = await self._meta.list(REVISION, namespace=self._namespace, selector=f"{LABEL_ROLLOUT}={label_of(rollout)}")
        parts: dict[str, list[Manifest]] = {PLAN: [], SHARD: [], RECORD: [], REFUSAL: []}
        for item in sorted(listing.items, key=lambda item: int(item["revision"])):
            parts.setdefault(item["metadata"]["labels"].get(LABEL_PART, ""), []).append(item)
        records = tuple(record_of(item["data"]) for item in parts[RECORD])
        if not parts[PLAN]:
            return Journal(None, records, {int(item["revision"]): _refusal_of(item["data"]) for item in parts[REFUSAL]})
        return Journal(_assembled(parts[PLAN][0]["data"], parts[SHARD]), records)

    async def freeze(self, rollout: FleetRollout, plan: FrozenPlan) -> None:
        """Write the plan: its shards first, so that what has a plan has all of it. A plan that is there already stays as it is."""
        members = [(stage.name, member) for stage in plan.stages for member in stage.members]
        shards = [members[first : first + SHARD_MEMBERS] for first in range(0, len(members), SHARD_MEMBERS)]
        for number, shard in enumerate(shards):
            rows = [[stage, member.key, member.origin, member.domain] for stage, member in shard]
            await self._create(rollout, SHARD, f"{plan.revision}-{number}", number, {"revision": plan.revision, "rows": rows})
        names = [stage.name for stage in plan.stages]
        head = {"to": plan.to, "stages": names, "skipped": dict(plan.skipped), "revision": plan.revision, "shards": len(shards)}
        await self._create(rollout, PLAN, "plan", 0, head)

    async def refuse(self, rollout: FleetRollout, refusal: Refusal) -> None:
        """Write that this generation of its spec is refused, once and for all."""
        data = {"code": refusal.code.value, "reason": refusal.reason}
        await self._create(rollout, REFUSAL, f"no-{rollout.metadata.generation}", rollout.metadata.generation, data)

    async def append(self, rollout: FleetRollout, number: int, record: Record) -> None:
        """Write record `number`, counted from 0. Raises Conflict if another was quicker."""
        if not await self._create(rollout, RECORD, f"r{number:05}", number, record.document()):
            raise Conflict(f"FleetRollout {rollout.metadata.name}: record {number} was written by another; it is read again")

    async def mark_bad(self, mark: BadMark, rollout: FleetRollout) -> None:
        """Remember that a package version was found bad; outlives the rollout. A mark of this rollout that is there stays as it is."""
        await self._remember(BAD, _bad_name(mark.version, rollout, mark.stage), asdict(mark))

    async def lift_bad(self, mark: BadMark, rollout: FleetRollout, said: Said) -> None:
        """Remember that a person took the mark of a stage back; the mark itself stays, too."""
        name = _bad_name(mark.version, rollout, mark.stage)
        await self._remember(NOT_BAD, f"not-{name}", {"mark": name, "by": said.by, "reason": said.reason})

    async def bad_marks(self) -> tuple[BadMark, ...]:
        """Package versions that rollouts found bad, without the marks that were taken back."""
        return tuple(mark for mark, is_lifted in await self.all_marks() if not is_lifted)

    async def all_marks(self) -> tuple[tuple[BadMark, bool], ...]:
        """Every mark, and whether the failure was accepted since."""
        listing = await self._meta.list(REVISION, namespace=self._namespace, selector=f"{LABEL_PART} in ({BAD},{NOT_BAD})")
        lifted = {item["data"]["mark"] for item in listing.items if item["metadata"]["labels"][LABEL_PART] == NOT_BAD}
        found = (item for item in listing.items if item["metadata"]["labels"][LABEL_PART] == BAD)
        return tuple((_mark_of(item["data"]), item["metadata"]["name"] in lifted) for item in found)

    async def records_of(self, name: str, uid: str) -> tuple[Record, ...]:
        """What a rollout has been through; nothing of one that is gone."""
        selector = f"{LABEL_ROLLOUT}={label_for(name, uid)},{LABEL_PART}={RECORD}"
        listing = await self._meta.list(REVISION, namespace=self._namespace, selector=selector)
        return tuple(record_of(item["data"]) for item in sorted(listing.items, key=lambda item: int(item["revision"])))

    async def _remember(self, part: str, name: str, data: Mapping[str, Any]) -> None:
        metadata = {"name": name, "namespace": self._namespace, "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_PART: part}}
        kind = {"apiVersion": REVISION.api_version, "kind": REVISION.kind}
        await self._create_once({**kind, "metadata": metadata, "revision": 1, "data": dict(data)})

    async def _create(self, rollout: FleetRollout, part: str, suffix: str, number: int, data: Mapping[str, Any]) -> bool:
        """Whether it was created by this call."""
        metadata = {
            "name": f"{label_of(rollout)}.{suffix}",
            "namespace": self._namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_ROLLOUT: label_of(rollout), LABEL_PART: part},
            "ownerReferences": [
                {"apiVersion": rollout.api_version, "kind": rollout.kind, "name": rollout.metadata.name, "uid": rollout.metadata.uid}
            ],
        }
        kind = {"apiVersion": REVISION.api_version, "kind": REVISION.kind}
        return await self._create_once({**kind, "metadata": metadata, "revision": number, "data": dict(data)})

    async def _create_once(self, manifest: Manifest) -> bool:
        try:
            await self._meta.create(manifest)
        except AlreadyExists:
            return False
        return True


def label_of(rollout: FleetRollout) -> str:
    """Name for a journal's objects: unique to this very rollout and short enough for a label."""
    return label_for(rollout.metadata.name, rollout.metadata.uid)


def label_for(name: str, uid: str) -> str:
    """The same, of one that may be gone."""
    digest = hashlib.sha256(f"{name}/{uid}".encode()).hexdigest()[:10]
    return f"{name[:40].rstrip('.-')}-{digest}"


def _bad_name(version: str, rollout: FleetRollout, stage: str) -> str:
    """One per version, rollout and, where it pauses, stage: lifting one lifts no other."""
    if stage:
        return f"bad.{version[:120].rstrip('.-')}.{label_of(rollout)}.{stage}"
    return f"bad.{version[:190].rstrip('.-')}.{label_of(rollout)}"


def _mark_of(data: Mapping[str, Any]) -> BadMark:
    """Older marks lack what was not known then."""
    words = {each: str(data.get(each) or "") for each in ("version", "rollout", "why", "by", "at", "uid", "stage", "operation")}
    return BadMark(**words, reached=tuple(data.get("reached") or ()), count=int(data.get("count") or 0))


def _refusal_of(data: Mapping[str, Any]) -> Refusal:
    return Refusal(ErrorCode(data["code"]), str(data["reason"]))


def _assembled(head: Mapping[str, Any], shards: Sequence[Manifest]) -> FrozenPlan:
    """The plan from its parts. Raises KokError Internal when they do not add up to what was frozen."""
    rows = [row for shard in shards if shard["data"]["revision"] == head["revision"] for row in shard["data"]["rows"]]
    stages = tuple(
        PlannedStage(name, tuple(PlannedMember(key, origin, domain) for stage, key, origin, domain in rows if stage == name))
        for name in head["stages"]
    )
    plan = FrozenPlan(str(head["to"]), stages, dict(head.get("skipped") or {}))
    if plan.revision != head["revision"]:
        raise KokError(
            ErrorCode.Internal, "the frozen plan is not complete", "nothing is changed; make the rollout anew under another name"
        )
    return plan

"""What is kept of every change, for good: which record is due, and what it says. Pure; written once by cluster_operator.rollout.records, read by `kok history`.

A record is derived from journals (ClusterReleases, a rollout's plan and story), never from a status, so a process that was down writes it later. Its
name is derived from what it is about, so it is written once. No decision reads records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from operators.api.cluster_release import Authorisation, AuthorisedBy, ClusterReleaseSpec
from operators.api.pools import HostRelease, MachinePoolReleaseSpec, PoolOrder
from operators.api.risk import Decision, Operation, OperationGrant
from operators.api.rollout import FleetRollout, FleetRolloutSpec
from operators.domain.risk.identity import at as moment_of
from operators.domain.risk.identity import stamp
from operators.domain.rollout.plan import FrozenPlan
from operators.domain.rollout.story import Event, Record
from operators.domain.rollout.verdict import TEST

KEPT_PER_CLUSTER = 50
"""Changes of one Cluster that are kept; the newest. More than a ClusterRelease remembers, or what was forgotten would be written again."""
KEPT_PER_POOL = 50
"""Changes of one MachinePool that are kept."""
KEPT_ROLLOUTS = 500
"""Ends of rollouts that are kept, of the whole fleet; the newest."""
KEPT_ORDERS = 200
"""Orders to one rollout that are noted."""
KEPT_GRANTS = 50
KEPT_VERDICTS = 20
"""Verdicts in the record of one pool's change; the newest."""
JUDGED = (Event.StagePassed, Event.StageFailed, Event.GoingBack)
NO_ROLLOUT = "no verdict: the change was under no rollout"
OF_PLANES = (Operation.UpgradePlane, Operation.RestartMaster, Operation.RemoveEtcdMember)
OF_MACHINES = (Operation.ApplyPackage, Operation.Drain, Operation.Cordon, Operation.DeleteMachine)
TEXT = 1024


class Result(StrEnum):
    """How one change of one cluster ended."""

    Created = "Created"
    """The first version of a new cluster."""
    Reached = "Reached"
    """The whole plane was at it."""
    TakenBack = "TakenBack"
    """Undone before the plane was seen at it."""
    Superseded = "Superseded"
    """Another change came before the plane was seen at it."""
    Deleted = "Deleted"
    """The whole cluster was ended: masters and volumes are gone."""


@dataclass(frozen=True, slots=True)
class DueChange:
    """A change of one cluster whose end is known."""

    name: str
    authorisation: Authorisation
    result: Result


@dataclass(frozen=True, slots=True)
class GrantLine:
    """Leave that was given for it."""

    name: str
    operation: str
    target: str
    at: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One entry. `kind`: Cluster (one cluster's change), Pool (one pool's), Rollout (a rollout's end), Order (what a person told a rollout)."""

    kind: str
    subject: str
    """namespace/name of a Cluster or a MachinePool, name of a FleetRollout."""
    at: str
    ended: str = ""
    who: str = ""
    by: str = ""
    """Spec, Rollout or Undo, with the rollout's name."""
    rollout: str = ""
    start: str = ""
    to: str = ""
    why: str = ""
    outcome: str = ""
    verdicts: tuple[str, ...] = ()
    grants: tuple[GrantLine, ...] = ()
    events: tuple[str, ...] = ()
    """With Rollout: its story, one line each, orders among them. With Pool: its hosts."""
    covers: str = ""
    """With Pool: hosts that were authorised up to here are told."""

    def document(self) -> dict[str, Any]:
        """As JSON: `start` is written as `from`; nothing empty."""
        found = {key: value for key, value in asdict(self).items() if value}
        if "start" in found:
            found["from"] = found.pop("start")
        return found


def subject_mark(kind: str, subject: str) -> str:
    """Label value for one subject's records."""
    return f"{kind.lower()}-{hashlib.sha256(subject.encode()).hexdigest()[:20]}"


def due_changes(cluster: str, release: ClusterReleaseSpec, written: Collection[str]) -> tuple[DueChange, ...]:
    """Changes of a cluster that ended and are not written yet, oldest first."""
    line = (*reversed(release.history), release.current)
    found = []
    for index, each in enumerate(line):
        after = line[index + 1] if index + 1 < len(line) else None
        name = change_name(cluster, each)
        if name not in written and (result := _result(each, after, release)):
            found.append(DueChange(name, each, result))
    return tuple(found)


def _result(each: Authorisation, after: Authorisation | None, release: ClusterReleaseSpec) -> Result | None:
    if not each.from_version:
        return Result.Created
    if after is not None:
        return Result.TakenBack if after.by is AuthorisedBy.Undo else Result.Superseded
    there = release.hop is None and release.plane_package == each.package_version
    return Result.Reached if there else None


def change_name(cluster: str, each: Authorisation) -> str:
    """The record's name: of this very authorisation."""
    said = f"{each.at}/{each.package_version}/{each.by}/{each.name}"
    return f"record.{subject_mark('Cluster', cluster)}.{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def change_record(cluster: str, due: DueChange, who: str, grants: Iterable[OperationGrant], now: datetime) -> ChangeRecord:
    """What is written of one cluster's change."""
    each = due.authorisation
    return ChangeRecord(
        kind="Cluster",
        subject=cluster,
        at=each.at,
        ended=stamp(now),
        who=who,
        by=each.by.value,
        rollout=each.name,
        start=each.from_version,
        to=each.package_version,
        why=each.reason[:TEXT],
        outcome=due.result.value,
        grants=tuple(grant_lines(cluster, each, grants))[:KEPT_GRANTS],
    )


@dataclass(frozen=True, slots=True)
class Deletion:
    """The end of a Cluster. `who`: field manager that took its protection off; the API server does not tell who deleted."""

    cluster: str
    """namespace/name."""
    uid: str
    at: str
    version: str
    who: str
    with_namespace: bool

    @property
    def name(self) -> str:
        """The record's: of this very Cluster, so that it is written once."""
        return f"record.{subject_mark('Cluster', self.cluster)}.deleted-{hashlib.sha256(self.uid.encode()).hexdigest()[:12]}"


def deletion_record(ended: Deletion, grants: Iterable[OperationGrant], now: datetime) -> ChangeRecord:
    """What is written of it."""
    lines = tuple(_lines_of((Operation.DeletePlane,), ended.cluster, ended.at, grants))[:KEPT_GRANTS]
    why = "it was deleted with its namespace" if ended.with_namespace else "it was deleted; its protection had been taken off"
    return ChangeRecord(
        kind="Cluster",
        subject=ended.cluster,
        at=ended.at,
        ended=stamp(now),
        who=ended.who,
        start=ended.version,
        why=why,
        outcome=Result.Deleted.value,
        grants=lines,
    )


def grant_lines(cluster: str, each: Authorisation, grants: Iterable[OperationGrant]) -> Iterator[GrantLine]:
    """Leave for the plane that was given since the change was authorised, oldest first."""
    return _lines_of(OF_PLANES, cluster, each.at, grants)


def _lines_of(operations: Collection[Operation], cluster: str, since: str, grants: Iterable[OperationGrant]) -> Iterator[GrantLine]:
    given = [(grant.status.decided_at, grant) for grant in grants if grant.status and grant.status.decided_at]
    for decided, grant in sorted(given, key=lambda pair: (pair[0], pair[1].metadata.name)):
        spec, status = grant.spec, grant.status
        is_ours = spec.operation in operations and f"{grant.metadata.namespace}/{spec.target.cluster}" == cluster
        is_given = status is not None and status.decision in (Decision.Granted, Decision.Unknown)
        if is_ours and is_given and moment_of(decided) >= moment_of(since):
            ended = spec.outcome.value if spec.outcome else "not reported"
            yield GrantLine(grant.metadata.name, spec.operation.value, f"{spec.target.kind} {spec.target.name}", decided, ended)


@dataclass(frozen=True, slots=True)
class DuePool:
    """Hosts of a pool that came into service with other packages, and are not written down yet."""

    hosts: tuple[HostRelease, ...]
    order: PoolOrder | None
    """What a rollout ordered of it, if one did."""
    cause: Authorisation | None = None
    """The change of the cluster that a pool followed, if a rollout made it."""
    cluster: str = ""
    """With a cause: namespace/name of that cluster, the rollout's member."""
    verdicts: tuple[str, ...] = ()

    @property
    def rollout(self) -> tuple[str, str]:
        """Name and uid of the rollout that changed it; empty if none did."""
        if self.order:
            return self.order.rollout, self.order.rollout_uid
        return (self.cause.name, self.cause.rollout_uid) if self.cause else ("", "")

    @property
    def since(self) -> str:
        """The first authorisation among them."""
        return min((host.at for host in self.hosts), key=moment_of)

    @property
    def covers(self) -> str:
        """The last authorisation among them: what is written says everything up to here."""
        return max((host.at for host in self.hosts), key=moment_of)


def pool_name(pool: str, due: DuePool) -> str:
    """The record's name: of the last authorisation that it tells."""
    return f"record.{subject_mark('Pool', pool)}.{hashlib.sha256(due.covers.encode()).hexdigest()[:12]}"


def due_pool(release: MachinePoolReleaseSpec, covered: str) -> DuePool | None:
    """The change of a pool that is over: every host is in service with what it was authorised for. `covered`: up to where records go."""
    if not release.hosts or any(host.opened_at is None for host in release.hosts):
        return None
    fresh = tuple(host for host in release.hosts if not covered or moment_of(host.at) > moment_of(covered))
    if not fresh:
        return None
    brought = {package for host in fresh for package in set(host.packages) - set(host.before)}
    order = next((each for each in release.orders if each.package in brought), None)
    return DuePool(fresh, order)


def cause_of(release: ClusterReleaseSpec, since: str) -> Authorisation | None:
    """The rollout's change that a pool which follows its cluster took part in from `since` on; None when the spec's wish was the last before it."""
    line = (release.current, *release.history)
    last = next((each for each in line if moment_of(each.at) <= moment_of(since)), None)
    return last if last and last.by is not AuthorisedBy.Spec else None


def pool_record(pool: str, due: DuePool, who: str, grants: Iterable[OperationGrant] = ()) -> ChangeRecord:
    """What is written of a pool's change, with the leave that its machines got for it and the verdicts of its rollout; of none if there was none."""
    before = sorted({package for host in due.hosts for package in set(host.before) - set(host.packages)})
    after = sorted({package for host in due.hosts for package in set(host.packages) - set(host.before)})
    names = ", ".join(sorted(host.name for host in due.hosts))
    by, rollout = (
        (due.order.by, due.order.rollout) if due.order else (due.cause.by, due.cause.name) if due.cause else (AuthorisedBy.Spec, "")
    )
    return ChangeRecord(
        kind="Pool",
        subject=pool,
        at=due.since,
        ended=max((host.opened_at or host.at for host in due.hosts), key=moment_of),
        who=who,
        by=by.value,
        rollout=rollout,
        start=", ".join(before)[:TEXT],
        to=", ".join(after)[:TEXT],
        why=(due.order.reason if due.order else due.hosts[0].reason)[:TEXT],
        outcome=Result.Reached.value,
        events=(f"{len(due.hosts)} hosts in service with it: {names}"[:TEXT],),
        verdicts=due.verdicts if due.rollout[0] else (NO_ROLLOUT,),
        grants=tuple(pool_grant_lines(pool, due, grants))[:KEPT_GRANTS],
        covers=due.covers,
    )


def pool_grant_lines(pool: str, due: DuePool, grants: Iterable[OperationGrant]) -> Iterator[GrantLine]:
    """What was granted for the machines of this change since it was authorised."""
    namespace, _, name = pool.partition("/")
    hosts = {host.name for host in due.hosts}
    own = [
        grant
        for grant in grants
        if grant.metadata.namespace == namespace and grant.spec.target.pool == name and grant.spec.target.name in hosts
    ]
    for cluster in sorted({grant.spec.target.cluster for grant in own}):
        yield from _lines_of(OF_MACHINES, f"{namespace}/{cluster}", due.since, own)


def pool_verdicts(rollout: str, member: str, plan: FrozenPlan | None, records: Sequence[Record]) -> tuple[str, ...]:
    """By which verdicts a member (a pool, or the cluster it follows) was let go on or stopped: of its stage and those before it, with their numbers.

    `plan` None: the rollout is gone, or was never planned. What is not judged when this is written is told by the record of the rollout's end.
    """
    if plan is None:
        return (f"no verdict is known: the journal of rollout {rollout} is gone",)
    names = [stage.name for stage in plan.stages]
    last = next((index for index, stage in enumerate(plan.stages) if any(each.key == member for each in stage.members)), len(names) - 1)
    upto = {"", *names[: last + 1]}
    judged = [each for each in records if each.event in JUDGED and each.stage in upto]
    own = names[last] if names else ""
    is_open = not any(each.stage in ("", own) for each in judged)
    open_words = (f"stage {own} was not judged yet when this was written: the record of the end of rollout {rollout} tells it",)
    return (*(each.text[:TEXT] for each in judged[-KEPT_VERDICTS:]), *(open_words if is_open else ()))


def manager_of(manifest: Mapping[str, Any], field: str) -> str:
    """The field manager that owns spec.<field>: `flux`, `kubectl-edit`; of several the last. Empty when nobody does."""
    owners = [
        (str(each.get("time") or ""), str(each.get("manager") or ""))
        for each in manifest["metadata"].get("managedFields") or ()
        if f"f:{field}" in ((each.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max(owners, default=("", ""))[1]


def via(manager: str) -> str:
    """How a field manager stands where a person would: nobody takes a tool for who used it."""
    return f"via {manager}" if manager else ""


def order_words(spec: FleetRolloutSpec) -> dict[str, Any]:
    """What persons told a rollout, as it stands in its spec."""
    return {
        "order": spec.order.value,
        "approvals": list(spec.approvals),
        "acceptedFailures": list(spec.accepted_failures),
        "by": spec.said.by,
        "reason": spec.said.reason,
    }


def due_order(spec: FleetRolloutSpec, noted: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The order to note: what the spec says now, unless the last note says the same."""
    words = order_words(spec)
    last = noted[-1] if noted else {}
    same = bool(noted) and all(last.get(key) == value for key, value in words.items())
    return None if same or len(noted) >= KEPT_ORDERS else words


def order_record(rollout: str, note: Mapping[str, Any], before: Mapping[str, Any] | None) -> ChangeRecord:
    """A noted order as an entry of the history."""
    return ChangeRecord(
        kind="Order",
        subject=rollout,
        at=str(note["at"]),
        who=str(note.get("by") or "") or via(str(note.get("manager") or "")),
        rollout=rollout,
        why=str(note.get("reason") or ""),
        outcome=_order_told(note, before),
    )


def _order_told(note: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """What the order changed, in words."""
    if before is None:
        return "started it" if note["order"] == "Go" else f"made it with order {note['order']}"
    told = [f"order {note['order']}"] if note["order"] != before["order"] else []
    told += [f"approved {name}" for name in note["approvals"] if name not in before["approvals"]]
    told += [f"withdrew approval of {name}" for name in before["approvals"] if name not in note["approvals"]]
    told += [f"accepted the failure of {name}" for name in note["acceptedFailures"] if name not in before["acceptedFailures"]]
    return ", ".join(told) or "signed"


def end_name(rollout: FleetRollout, records: Sequence[Record]) -> str:
    """Name of the record of this very end; an undo after a good end makes a second one."""
    return f"record.{subject_mark('Rollout', rollout.metadata.name)}.{rollout.metadata.uid[:8]}.{len(records):05}"


def end_record(rollout: FleetRollout, plan: FrozenPlan, records: Sequence[Record], orders: Sequence[ChangeRecord]) -> ChangeRecord:
    """What is written of a rollout's end. Its members' changes are records of their own."""
    last, spec = records[-1], rollout.spec
    origins = sorted({member.origin for member in plan.members})
    story = [(stamp(each.at), f"{each.event.value} {each.stage}".strip(), each.text) for each in records]
    told = [(each.at, f"{each.who or 'somebody'}: {each.outcome}", each.why) for each in orders]
    return ChangeRecord(
        kind="Rollout",
        subject=rollout.metadata.name,
        at=rollout.metadata.creation_timestamp or stamp(records[0].at),
        ended=stamp(last.at),
        who=spec.said.by or (orders[0].who if orders else ""),
        by="Rollout",
        rollout=rollout.metadata.name,
        start=", ".join(origins)[:TEXT],
        to=plan.to,
        why=(orders[0].why if orders else spec.said.reason)[:TEXT],
        outcome=last.outcome.value if last.outcome else "",
        verdicts=_with_test([each.text for each in records if each.event in JUDGED], spec.analysis.window_seconds),
        events=tuple(f"{at} {what}{': ' + words if words else ''}" for at, what, words in sorted(story + told)),
    )


def _with_test(verdicts: Sequence[str], window: int) -> tuple[str, ...]:
    """Numbers say little without how they were come by."""
    return (*verdicts, f"judged over {window} s: {TEST}") if verdicts else ()


def surplus(written: Sequence[tuple[datetime, str]], kept: int) -> list[str]:
    """Names of the oldest records beyond what is kept."""
    ordered = sorted(written, reverse=True)
    return [name for _, name in ordered[kept:]]

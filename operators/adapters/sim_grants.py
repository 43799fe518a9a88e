"""GrantsPort in memory, for tests of who asks: the same rules as the real one, with a risk centre inside that answers when it is up.

Twin of grants_kube, under the same contract tests. Knows nothing of a cluster; a target is seen as `sightings` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from operators.adapters.grants_kube import grant_of, invalid, manifest_of, utc_now, why_not
from operators.api.base import ObjectMeta
from operators.api.budgets import BudgetScope, ClusterSelector, Concurrency, OperationBudget, OperationBudgetSpec, Per
from operators.api.risk import Decision, LedgerSpec, Operation, OperationGrant, OperationGrantStatus, Outcome
from operators.domain.risk.asking import POLL, Create, Held, next_ask
from operators.domain.risk.bookkeeping import without
from operators.domain.risk.decide import Granted, ask_of, decide
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import LABEL_ACT, EntryKey, stamp
from operators.domain.risk.ladder import Answer, GrantView, MarkUnknown, Settle, next_step
from operators.domain.risk.sighting import Sighted, Sighting
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, GrantRequest, Waiting

IMPAIRED = Sighted(Sighting.Impaired, "nothing was said of it")


def _one(name: str, per: Per, operations: tuple[Operation, ...]) -> OperationBudget:
    scope = BudgetScope(per=per, clusters=ClusterSelector(all=True))
    spec = OperationBudgetSpec(operations=operations, scope=scope, concurrency=Concurrency(count=1))
    return OperationBudget(metadata=ObjectMeta(name=name), spec=spec)


MASTERS = (Operation.RestartMaster, Operation.RemoveEtcdMember, Operation.UpgradePlane, Operation.DeletePlane)
ONE_PER_POOL = _one("one-per-pool", Per.Pool, tuple(operation for operation in Operation if operation not in MASTERS))
ONE_MASTER = _one("one-master", Per.Cluster, MASTERS)


class SimGrants:
    """GrantsPort. Set `centre_is_up` to False to see requests that nobody answers; `ledger` and `grants` may be looked at, `facts` set: without, one target
    per pool and one master per cluster.
    """

    def __init__(self, *, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self.centre_is_up = True
        self.ledger: LedgerSpec | KokError = LedgerSpec()
        self.facts = Facts((ONE_PER_POOL, ONE_MASTER))
        self.grants: dict[EntryKey, OperationGrant] = {}
        self.sightings: dict[str, Sighted] = {}
        self._made = 0

    async def ask(self, request: GrantRequest) -> Grant | Waiting:
        """See GrantsPort. A new request is answered before this returns, and told at the next ask, as by a prompt risk centre."""
        self.answer_all()
        act = manifest_of(request, 0)["metadata"]["labels"][LABEL_ACT]
        attempts = [grant for grant in self.grants.values() if grant.metadata.labels[LABEL_ACT] == act and _in(grant, request.namespace)]
        following = next_ask(attempts, request.attempt, self._now())
        if isinstance(following, Held):
            return grant_of(following.grant, request)
        if isinstance(following, Create):
            self._create(request, following.attempt)
            self.answer_all()
            return Waiting("asked; the risk centre has not answered yet", POLL, denied=False, attempt=following.attempt)
        return Waiting(following.message, following.seconds, following.denied, following.attempt)

    def _create(self, request: GrantRequest, attempt: int) -> None:
        self._made += 1
        manifest = manifest_of(request, attempt)
        manifest["metadata"] |= {"uid": f"uid-{self._made}", "creationTimestamp": stamp(self._now())}
        self.grants[EntryKey(request.namespace, manifest["metadata"]["name"])] = OperationGrant.parse(manifest)

    async def verify(self, grant: Grant, *, operation: Operation, target: str, left: float = 0.0) -> None:
        """See GrantsPort."""
        found = self.grants.get(EntryKey(grant.namespace, grant.op_id))
        reason = why_not(found, grant, operation, target, self._now() + timedelta(seconds=left)) if found else "it was deleted"
        if reason:
            raise invalid(grant, operation, target, reason)

    async def settle(self, grant: Grant, outcome: Outcome) -> None:
        """See GrantsPort."""
        key = EntryKey(grant.namespace, grant.op_id)
        found = self.grants.get(key)
        if found and found.metadata.uid == grant.uid and found.spec.outcome is None:
            self.grants[key] = found.model_copy(update={"spec": found.spec.model_copy(update={"outcome": outcome})})
            self.answer_all()

    def answer_all(self) -> None:
        """What the risk centre does with every grant, until nothing is left to do."""
        changed = self.centre_is_up
        while changed:
            changed = False
            for key in sorted(self.grants):
                changed |= self._pass(key)

    def _pass(self, key: EntryKey) -> bool:
        grant = self.grants[key]
        sighted = self.sightings.get(grant.spec.target.name, IMPAIRED)
        match next_step(GrantView(grant, self.ledger, self._now(), sighted)):
            case Answer():
                self._answer(key, grant)
            case MarkUnknown(reason):
                self._show(key, decision=Decision.Unknown, message=reason)
            case Settle(reason):
                outcome = grant.spec.outcome
                self._free(key, {key: outcome} if outcome else {})
                self._show(key, settled_at=stamp(self._now()), message=reason)
            case _:
                return False
        return True

    def _answer(self, key: EntryKey, grant: OperationGrant) -> None:
        if isinstance(self.ledger, KokError):
            self._show(key, decision=Decision.Denied, message=self.ledger.message, decided_at=stamp(self._now()), retry_after_seconds=10)
            return
        verdict = decide(ask_of(grant), self.ledger, self.facts, self._now())
        if verdict.ledger:
            self.ledger = verdict.ledger
        if isinstance(verdict, Granted):
            entry = verdict.entry
            self._show(key, decision=Decision.Granted, message=verdict.message, decided_at=entry.granted_at, expires_at=entry.expires_at)
        else:
            moment, after = stamp(self._now()), verdict.retry_after
            self._show(key, decision=Decision.Denied, message=verdict.message, decided_at=moment, retry_after_seconds=after)

    def _free(self, key: EntryKey, outcomes: Mapping[EntryKey, Outcome]) -> None:
        if isinstance(self.ledger, KokError):
            raise KokError(ErrorCode.Internal, "the ladder frees nothing without a Ledger")
        self.ledger = without(self.ledger, [key], outcomes)

    def _show(self, key: EntryKey, **fields: object) -> None:
        grant = self.grants[key]
        status = (grant.status or OperationGrantStatus()).model_copy(update=fields)
        self.grants[key] = grant.model_copy(update={"status": status})


def _in(grant: OperationGrant, namespace: str) -> bool:
    return grant.metadata.namespace == namespace

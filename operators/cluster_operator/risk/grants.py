"""The reconcile of one OperationGrant: answer it, free its slot, mark it Unknown. The ladder is domain/risk/ladder.py.

Writes the Ledger first (services/ledger.py), then the grant's status, by compare-and-swap: two risk centres cannot contradict each other
there either. A crash between the two is harmless: the next pass finds the operation in the Ledger and writes the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from operators.api.base import API_VERSION
from operators.api.risk import Decision, OperationGrant
from operators.cluster_operator.risk.targets import Targets
from operators.domain.risk.decide import TEXT_LIMIT, Granted, Verdict, ask_of, denied
from operators.domain.risk.identity import EntryKey, stamp
from operators.domain.risk.ladder import Answer, GrantView, Hold, MarkUnknown, Settle, Step, next_step
from operators.engine.reconcile import StatusWrite
from operators.engine.recorder import EventRecorder, Occurrence
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Key, Kind, KubePort, Manifest, Ref, Subresource
from operators.services.ledger import LedgerService

log = structlog.get_logger(__name__)
GRANTS = Kind(API_VERSION, "OperationGrant")


@dataclass(frozen=True, slots=True)
class Observed:
    """One pass: the stored object beside what the ladder looks at; `view` is the error if the object is not understood."""

    manifest: Manifest
    view: GrantView | KokError

    @property
    def ref(self) -> Ref:
        """The object."""
        return Ref.of(self.manifest)

    @property
    def decision(self) -> str | None:
        """What its status says, also of an object that is not understood."""
        decision: str | None = (self.manifest.get("status") or {}).get("decision")
        return decision


@dataclass(frozen=True, slots=True)
class Refuse:
    """Deny what is not understood."""

    reason: str
    after: float | None = None


GrantStep = Step | Refuse


class GrantController:
    """Controller of OperationGrants, in every namespace."""

    name = "risk"

    def __init__(
        self,
        kube: KubePort,
        ledger: LedgerService,
        targets: Targets,
        *,
        recorder: EventRecorder,
        now: Callable[[], datetime],
    ) -> None:
        self._kube, self._ledger, self._targets, self._recorder, self._now = kube, ledger, targets, recorder, now
        self.seen: Callable[[str], None] = lambda namespace: None
        """Told in which namespace a grant is looked at."""

    async def observe(self, key: Key) -> Observed | None:
        """The grant, then the Ledger (in this order, see the ladder), then the target of one whose holder vanished; all read live."""
        self.seen(key.namespace)
        manifest = await self._kube.get(GRANTS.ref(key.name, key.namespace))
        if manifest is None:
            return None
        try:
            grant = OperationGrant.parse(manifest)
        except KokError as error:
            return Observed(manifest, error)
        ledger = None if _is_new(grant) else await self._ledger.look()
        is_unknown = grant.status is not None and grant.status.decision is Decision.Unknown and not grant.status.settled_at
        sighted = await self._targets.look(key.namespace, grant.spec.target) if is_unknown else None
        return Observed(manifest, GrantView(grant, ledger, self._now(), sighted))

    def next_step(self, observed: Observed) -> GrantStep:
        """The ladder's; what is not understood is denied once."""
        if not isinstance(observed.view, KokError):
            return next_step(observed.view)
        return Hold("denied") if observed.decision else Refuse(observed.view.message)

    async def act(self, observed: Observed, step: GrantStep) -> None:
        """One step. Raises Conflict if somebody wrote to the grant in between: it is looked at again then."""
        match step:
            case Answer():
                await self._answer(observed)
            case Refuse(reason):
                await self._show(observed, _denial(reason, 60, self._now()), reason, code=ErrorCode.InvalidObject)
            case Settle(reason):
                await self._settle(observed, reason)
            case MarkUnknown(reason):
                await self._show(
                    observed, {"decision": Decision.Unknown.value, "message": reason[:TEXT_LIMIT]}, reason, code=ErrorCode.GrantInvalid
                )
            case Hold():
                pass

    def status_of(self, observed: Observed, step: GrantStep, outcome: KokError | None) -> StatusWrite | None:
        """Nothing: `act` writes the status itself, as a compare-and-swap that must follow the Ledger's."""
        return None

    async def _answer(self, observed: Observed) -> None:
        verdict = await self._verdict(observed)
        if isinstance(verdict, Granted):
            entry = verdict.entry
            status = {"decision": "Granted", "message": verdict.message, "decidedAt": entry.granted_at, "expiresAt": entry.expires_at}
            await self._show(observed, status, verdict.message)
        else:
            status = _denial(verdict.message, verdict.retry_after, self._now())
            await self._show(observed, status, verdict.message, code=verdict.code)

    async def _verdict(self, observed: Observed) -> Verdict:
        assert isinstance(observed.view, GrantView)
        ask = ask_of(observed.view.grant)
        if observed.view.grant.deleting:
            return denied(ask, "it is being deleted")
        return await self._ledger.reserve(ask)

    async def _settle(self, observed: Observed, reason: str) -> None:
        """Free the slot, then say so. A denial keeps its own sentence."""
        key = EntryKey(observed.ref.namespace, observed.ref.name)
        reported = observed.view.grant.spec.outcome if isinstance(observed.view, GrantView) else None
        await self._ledger.release([key], {key: reported} if reported else {})
        if observed.decision != Decision.Denied:
            await self._show(observed, {"message": reason[:TEXT_LIMIT], "settledAt": stamp(self._now())}, reason)

    async def _show(self, observed: Observed, status: Manifest, words: str, *, code: ErrorCode | None = None) -> None:
        """The status by compare-and-swap; the same words once in the log and as an event."""
        metadata = observed.manifest["metadata"]
        await self._kube.patch_json(
            observed.ref, {"status": status}, resource_version=metadata["resourceVersion"], subresource=Subresource.Status
        )
        reason = code.value if code else "Settled" if "settledAt" in status else "Granted"
        log.info("operation", step=reason, reason=words)
        await self._recorder.record(Occurrence(observed.ref, metadata["uid"], reason, words, action="Decide", warning=code is not None))


def _is_new(grant: OperationGrant) -> bool:
    """Whether the Ledger need not be read before it is answered: reserving reads it anyway."""
    return grant.spec.outcome is None and (grant.status is None or grant.status.decision is None)


def _denial(message: str, retry_after: int, now: datetime) -> Manifest:
    return {"decision": "Denied", "message": message[:TEXT_LIMIT], "decidedAt": stamp(now), "retryAfterSeconds": retry_after}

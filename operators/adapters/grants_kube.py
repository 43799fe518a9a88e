"""GrantsPort over OperationGrant objects: asking creates or finds one, acting re-reads it, the end is written into it once.

It never answers itself and never turns an error into a Grant. The risk centre (cluster_operator/risk) answers. Given to the operators by their
entry points. Twin: sim_grants, under the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from operators.api.base import API_VERSION, LABEL_CLUSTER, LABEL_MANAGED_BY, MANAGED_BY
from operators.api.risk import Operation, OperationGrant, Outcome
from operators.domain.risk.asking import POLL, Create, Held, is_for, next_ask, why_invalid, words_of
from operators.domain.risk.identity import LABEL_ACT, act_id, op_id
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, GrantRequest, OpId, Waiting
from operators.ports.kube import AlreadyExists, Conflict, Kind, KubePort, Manifest, Ref

GRANTS = Kind(API_VERSION, "OperationGrant")
ERROR_RETRY = 10.0
"""Seconds until a request that could not be made is made again."""
KNOWN_ACTS = 1000
"""Acts whose newest attempt is remembered."""


def utc_now() -> datetime:
    """The wall clock; what it is compared with is written by the risk centre."""
    return datetime.now(UTC)


class KubeGrants:
    """GrantsPort. `kube` is the meta cluster, as the requester (its role may create and patch grants in its namespace, and nothing else)."""

    def __init__(self, kube: KubePort, *, now: Callable[[], datetime] = utc_now) -> None:
        self._kube, self._now = kube, now
        self._newest: dict[tuple[str, str], str] = {}

    async def ask(self, request: GrantRequest) -> Grant | Waiting:
        """See GrantsPort."""
        try:
            return await self._ask(request)
        except (KokError, ValueError) as error:
            words = error.message if isinstance(error, KokError) else str(error)
            return Waiting(f"no leave to {_words(request)}: the request could not be made ({words})", ERROR_RETRY, False, request.attempt)

    async def _ask(self, request: GrantRequest) -> Grant | Waiting:
        """At most one object is made per call: a new attempt is answered at the next one."""
        following = next_ask(self._remembered(request, await self._attempts(request)), request.attempt, self._now())
        if isinstance(following, Create):
            (grant,) = self._remembered(request, [await self._create(request, following.attempt)])
            following = next_ask([grant], request.attempt, self._now())
            if isinstance(following, Create):
                return Waiting(f"attempt {grant.spec.attempt} to {_words(request)} is over already", POLL, False, following.attempt)
        if isinstance(following, Held):
            return grant_of(following.grant, request)
        return Waiting(following.message, following.seconds, following.denied, following.attempt)

    async def _attempts(self, request: GrantRequest) -> list[OperationGrant]:
        """All that are stored; of an act that was asked for before the newest is enough, by name: a list waits until the API server's cache is level,
        a tenth of a second. Whoever asked in our place meanwhile made the next attempt only after that one was over: then ours finds it made.
        """
        name = self._newest.get(_act_key(request))
        found = await self._kube.get(GRANTS.ref(name, request.namespace)) if name else None
        if found is not None:
            return [OperationGrant.parse(found)]
        listing = await self._kube.list(GRANTS, namespace=request.namespace, selector=f"{LABEL_ACT}={_act(request)}")
        return [OperationGrant.parse(item) for item in listing.items]

    def _remembered(self, request: GrantRequest, grants: list[OperationGrant]) -> list[OperationGrant]:
        """The same grants; the oldest memory goes when there is no room."""
        self._newest.pop(_act_key(request), None)
        if grants:
            self._newest[_act_key(request)] = max(grants, key=lambda grant: grant.spec.attempt).metadata.name
        if len(self._newest) > KNOWN_ACTS:
            del self._newest[next(iter(self._newest))]
        return grants

    async def _create(self, request: GrantRequest, attempt: int) -> OperationGrant:
        manifest = manifest_of(request, attempt)
        try:
            return OperationGrant.parse(await self._kube.create(manifest))
        except AlreadyExists:
            found = await self._kube.get(Ref.of(manifest))
            if found is None:
                raise
            return OperationGrant.parse(found)

    async def verify(self, grant: Grant, *, operation: Operation, target: str, left: float = 0.0) -> None:
        """See GrantsPort."""
        try:
            found = await self._kube.get(_ref(grant), deadline=5.0)
            reason = (
                "it was deleted"
                if found is None
                else why_not(OperationGrant.parse(found), grant, operation, target, self._now() + timedelta(seconds=left))
            )
        except (KokError, ValueError) as error:
            reason = f"it cannot be verified ({error})"
        if reason:
            raise invalid(grant, operation, target, reason)

    async def settle(self, grant: Grant, outcome: Outcome) -> None:
        """See GrantsPort."""
        for _ in range(3):
            found = await self._kube.get(_ref(grant))
            if found is None or found["metadata"]["uid"] != grant.uid or found["spec"].get("outcome"):
                return
            version = str(found["metadata"]["resourceVersion"])
            try:
                await self._kube.patch_json(_ref(grant), {"spec": {"outcome": outcome.value}}, resource_version=version)
            except Conflict:
                continue
            return
        raise KokError(
            ErrorCode.Conflict, f"the outcome of {grant.op_id} could not be written: it keeps changing", "it is tried again by itself"
        )


def manifest_of(request: GrantRequest, attempt: int) -> Manifest:
    """The OperationGrant of one attempt; the same request and attempt always give the same object."""
    name = op_id(request.operation, request.target.name, _act(request), attempt)
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_CLUSTER: request.target.cluster, LABEL_ACT: _act(request)}
    spec = {
        "operation": request.operation.value,
        "target": request.target.model_dump(mode="json", by_alias=True),
        "requester": request.requester,
        "workflow": request.workflow,
        "step": request.step,
        "purpose": request.purpose.value,
        "attempt": attempt,
        "reason": request.reason[:1024],
        "ttlSeconds": request.ttl_seconds,
    }
    metadata = {"name": name, "namespace": request.namespace, "labels": labels}
    return {"apiVersion": API_VERSION, "kind": "OperationGrant", "metadata": metadata, "spec": spec}


def invalid(grant: Grant, operation: Operation, target: str, reason: str) -> KokError:
    """The refusal to act."""
    return KokError(
        ErrorCode.GrantInvalid,
        f"grant {grant.namespace}/{grant.op_id} does not allow to {operation.value} {target}: {reason}",
        "nothing was done; the next pass asks the risk centre again",
    )


def why_not(found: OperationGrant, grant: Grant, operation: Operation, target: str, now: datetime) -> str:
    """Why the stored grant does not allow this act at `now`; empty if it does."""
    if found.metadata.uid != grant.uid:
        return "another grant has its name now"
    if grant.operation is not operation or not is_for(found, operation, target):
        return f"it is for another act, to {words_of(found)}"
    return why_invalid(found, now)


def grant_of(found: OperationGrant, request: GrantRequest) -> Grant | Waiting:
    """The proof, if what was granted is what is asked."""
    spec = found.spec
    if (spec.operation, spec.target, spec.requester) != (request.operation, request.target, request.requester):
        words = (
            f"grant {found.metadata.name} is for another request, to {words_of(found)} by {spec.requester}; no leave to {_words(request)}"
        )
        return Waiting(words, ERROR_RETRY, True, spec.attempt + 1)
    return Grant(OpId(found.metadata.name), found.metadata.namespace or "", found.metadata.uid, spec.operation, spec.target)


def _act_key(request: GrantRequest) -> tuple[str, str]:
    return request.namespace, _act(request)


def _act(request: GrantRequest) -> str:
    return act_id(request.target_uid, request.operation, request.workflow, request.step)


def _words(request: GrantRequest) -> str:
    return f"{request.operation.value} {request.target.kind} {request.target.name}"


def _ref(grant: Grant) -> Ref:
    return GRANTS.ref(grant.op_id, grant.namespace)

"""EtcdPort over etcd's own v3 API, as JSON through its gateway on the client port, with mutual TLS from memory.

Paths and messages: etcd's api/etcdserverpb/rpc.proto; 64-bit numbers travel as text, absent fields are zero. Members are reached by their
pods' addresses and trusted by the names in their certificates, so no lookup stands in the way. Built by cluster_operator.main.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp

from operators.adapters.kube_credentials import Credentials
from operators.adapters.no_answer import why_no_answer
from operators.api.risk import Operation
from operators.domain.plane.etcd_facts import Member, MemberStatus
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdAccess, EtcdPort, MemberAddress, MemberList
from operators.ports.grants import Grant, GrantsPort

CLIENT_PORT = 2379
DEADLINE = 5.0
"""Seconds for one call at one member; a change of membership waits for the quorum within it."""
LOOK_SECONDS = 2.0
"""Seconds for one look: a member that takes longer counts as not answering."""
PIECE_SECONDS = 60.0
"""Seconds between two pieces of a snapshot."""
LIMITS = aiohttp.ClientTimeout(total=None, sock_connect=1.5)
"""A member that takes no connection is passed over soon: its node may be gone."""
NOT_FOUND, NOT_A_LEARNER = "member not found", "can only promote a learner member"
NOT_IN_SYNC = "which is in sync with leader"


class HttpEtcd:
    """EtcdPort."""

    def __init__(self, access: EtcdAccess, session: aiohttp.ClientSession, grants: GrantsPort) -> None:
        self._access, self._session, self._grants = access, session, grants

    async def member_list(self) -> MemberList:
        """See EtcdPort. All members are asked at once; the first answer of a voter is the answer, since each needs the quorum for it."""
        body = await self._first_answer("/v3/cluster/member/list", {"linearizable": True}, LOOK_SECONDS)
        members = tuple(sorted(map(_member, body.get("members") or ()), key=lambda member: member.id))
        return MemberList(f"{int(body['header']['cluster_id']):x}", members)

    async def status(self, pod: str) -> MemberStatus:
        """See EtcdPort."""
        body = await self._post(self._of(pod), "/v3/maintenance/status", {}, LOOK_SECONDS)
        return MemberStatus(
            id=int(body["header"]["member_id"]),
            leader=int(body.get("leader") or 0),
            raft_index=int(body.get("raftIndex") or 0),
            applied_index=int(body.get("raftAppliedIndex") or 0),
            is_learner=bool(body.get("isLearner")),
            version=str(body.get("version") or ""),
            database_bytes=int(body.get("dbSize") or 0),
        )

    async def add_learner(self, peer_url: str) -> Member:
        """See EtcdPort."""
        body = await self._change("/v3/cluster/member/add", {"peerURLs": [peer_url], "isLearner": True})
        return _member(body["member"])

    async def promote(self, member_id: int) -> None:
        """See EtcdPort."""
        try:
            await self._change("/v3/cluster/member/promote", {"ID": str(member_id)})
        except KokError as error:
            if NOT_A_LEARNER not in error.message:
                raise
            if NOT_IN_SYNC in error.message and await self._is_learner(
                member_id
            ):  # asked before what it is: one that was just promoted may lag
                raise

    async def _is_learner(self, member_id: int) -> bool:
        return any(member.id == member_id and member.is_learner for member in (await self.member_list()).members)

    async def move_leader(self, member_id: int) -> None:
        """See EtcdPort. Only the leader takes this call."""
        statuses = await asyncio.gather(*(self._quiet_status(each.pod) for each in self._access.members))
        leader = next((status.leader for status in statuses if status and status.leader), 0)
        if leader == member_id:
            return
        at = next(
            (each for each, status in zip(self._access.members, statuses, strict=True) if status and status.id == leader != 0),
            None,
        )
        if at is None:
            raise KokError(ErrorCode.Unreachable, f"the leader of {self._access.name} cannot be reached", "it is tried again by itself")
        await self._post(at, "/v3/maintenance/transfer-leadership", {"targetID": str(member_id)}, DEADLINE)

    async def _quiet_status(self, pod: str) -> MemberStatus | None:
        try:
            return await self.status(pod)
        except KokError:
            return None

    async def remove_member(self, member_id: int, *, pod: str, grant: Grant) -> None:
        """See EtcdPort."""
        await self._grants.verify(grant, operation=Operation.RemoveEtcdMember, target=pod)
        try:
            await self._change("/v3/cluster/member/remove", {"ID": str(member_id)})
        except KokError as error:
            if NOT_FOUND not in error.message:
                raise

    async def snapshot(self, pod: str) -> AsyncIterator[bytes]:
        """See EtcdPort. One JSON line per piece; the last bytes are the digest that `etcdutl` checks."""
        at = self._of(pod)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=DEADLINE, sock_read=PIECE_SECONDS)
        remaining = -1
        try:
            async with self._open(at, "/v3/maintenance/snapshot", {}, limits) as response:
                if response.status != HTTPStatus.OK:
                    raise _refusal(at, response.status, await response.read())
                async for line in _lines(response.content):
                    piece, remaining = _piece(at, line)
                    yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise _no_answer(at, error) from error
        if remaining != 0:
            raise KokError(ErrorCode.Unreachable, f"the snapshot of {pod} was cut off", "it is taken anew")

    async def _change(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """At the first member that can be reached; each change is refused or does nothing the second time."""
        last: KokError = self._nobody()
        for at in self._access.members:
            try:
                return await self._post(at, path, body, DEADLINE)
            except KokError as error:
                if error.code is not ErrorCode.Unreachable and "rpc not supported for learner" not in error.message:
                    raise
                last = error
        raise last

    async def _first_answer(self, path: str, body: Mapping[str, Any], deadline: float) -> Mapping[str, Any]:
        tasks = [asyncio.ensure_future(self._post(each, path, body, deadline)) for each in self._access.members]
        last: KokError = self._nobody()
        try:
            for done in asyncio.as_completed(tasks):
                try:
                    return await done
                except KokError as error:
                    last = error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise last

    async def _post(self, at: MemberAddress, path: str, body: Mapping[str, Any], deadline: float) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(deadline), self._open(at, path, body, LIMITS) as response:
                answer = await response.read()
                if response.status != HTTPStatus.OK:
                    raise _refusal(at, response.status, answer)
                decoded: Mapping[str, Any] = json.loads(answer)
                return decoded
        except aiohttp.ConnectionTimeoutError as error:
            raise _no_answer(at, error) from error
        except TimeoutError as error:
            raise KokError(ErrorCode.Timeout, f"etcd member {at.pod} did not answer within {deadline:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _no_answer(at, error) from error

    def _open(self, at: MemberAddress, path: str, body: Mapping[str, Any], limits: aiohttp.ClientTimeout) -> Any:
        url = f"https://{at.address}:{CLIENT_PORT}{path}"
        return self._session.post(url, data=json.dumps(body).encode(), timeout=limits, server_hostname=at.host)

    def _of(self, pod: str) -> MemberAddress:
        found = next((each for each in self._access.members if each.pod == pod), None)
        if found is None:
            raise KokError(ErrorCode.Unreachable, f"etcd member {pod} has no address")
        return found

    def _nobody(self) -> KokError:
        return KokError(ErrorCode.Unreachable, f"no member of {self._access.name} has an address")


class EtcdClusters:
    """EtcdConnector: one session per etcd, the least recently used closed first. A changed certificate is a new session."""

    def __init__(self, grants: GrantsPort, *, open_sessions: int = 32) -> None:
        self._grants, self._open_sessions = grants, open_sessions
        self._sessions: OrderedDict[str, tuple[int, aiohttp.ClientSession]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def connect(self, access: EtcdAccess) -> EtcdPort:
        """See EtcdConnector. Raises KokError Unauthorized if what should be keys is none."""
        digest = hash((access.ca_pem, access.certificate_pem, access.key_pem))
        known, session = self._sessions.get(access.name, (0, None))
        if session is None or known != digest or session.closed:
            if session is not None:
                self._close_soon(session)
            session = _session_of(access)
            self._sessions[access.name] = (digest, session)
        self._sessions.move_to_end(access.name)
        while len(self._sessions) > self._open_sessions:
            _, (_, oldest) = self._sessions.popitem(last=False)
            self._close_soon(oldest)
        return HttpEtcd(access, session, self._grants)

    def _close_soon(self, session: aiohttp.ClientSession) -> None:
        task = asyncio.get_running_loop().create_task(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def forget(self, name: str) -> None:
        """See EtcdConnector."""
        _, session = self._sessions.pop(name, (0, None))
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """End all sessions."""
        for name in list(self._sessions):
            await self.forget(name)


def _session_of(access: EtcdAccess) -> aiohttp.ClientSession:
    credentials = Credentials(access.name, access.ca_pem, access.certificate_pem, access.key_pem)
    try:
        context = credentials.ssl_context()
    except (ssl.SSLError, ValueError) as error:
        raise KokError(ErrorCode.Unauthorized, f"the certificate, key or CA for {access.name} is unusable: {error}") from error
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=16), trust_env=False)


def _member(entry: Mapping[str, Any]) -> Member:
    urls = entry.get("peerURLs") or ("",)
    return Member(int(entry["ID"]), str(entry.get("name") or ""), str(urls[0]), bool(entry.get("isLearner")))


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: a piece of a snapshot is longer than what aiohttp takes for a line."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            if line.strip():
                yield line
    if rest.strip():
        yield bytes(rest)


def _piece(at: MemberAddress, line: bytes) -> tuple[bytes, int]:
    """The bytes of one line and how many are still to come."""
    try:
        message = json.loads(line)
        result = message["result"]
        return base64.b64decode(result.get("blob") or "", validate=True), int(
            result.get("remaining_bytes") or result.get("remainingBytes") or 0
        )
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        words = line[:200].decode(errors="replace")
        raise KokError(ErrorCode.EtcdRefused, f"etcd member {at.pod} gives no snapshot: {words}") from error


def _refusal(at: MemberAddress, status: int, body: bytes) -> KokError:
    try:
        words = str(json.loads(body).get("message") or "")
    except (ValueError, AttributeError):
        words = ""
    words = words or body[:200].decode(errors="replace").strip() or f"HTTP {status}"
    return KokError(ErrorCode.EtcdRefused, f"etcd member {at.pod} refuses: {words}", "it is tried again by itself")


def _no_answer(at: MemberAddress, error: Exception) -> KokError:
    return KokError(ErrorCode.Unreachable, f"etcd member {at.pod} cannot be reached: {why_no_answer(error)}")

"""HTTP to one API server: a session that opens when needed and closes when idle, answers turned into typed errors.

aiohttp directly, and nothing of the `kubernetes` package: importing any of it loads its synchronous client, too (measured with 37.0.2:
20 MiB of RSS and 1 s of CPU at every start, of 71 MiB and 2.9 s), its dynamic client reads all of discovery per server and caches it in
a temporary file, and its kubeconfig loader leaves private keys in others. Nine verbs over plain dicts need none of that.
Knows no verbs and no kinds; `operators.adapters.kube` does.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp.typedefs import LooseHeaders
from yarl import URL

from operators.adapters.kube_credentials import Credentials, TokenSource
from operators.adapters.no_answer import mistrust, why_no_answer
from operators.adapters.server_clock import ServerClock
from operators.ports.kube import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    KubeError,
    Manifest,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    Untrusted,
    WatchExpired,
)

OnCall = Callable[[str, int, float], None]
"""Told of every HTTP exchange: verb, status (0 = no answer), seconds."""

IDLE_SECONDS = 150.0
CONNECTIONS = 16
"""At once. Each costs a TLS handshake (3 ms of CPU) and, in asyncio, 256 KiB of buffer for as long as it is open."""
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """One exchange. `verb` is what metrics call it; `repeatable` says that doing it twice does what doing it once does."""

    verb: str
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = "application/json"
    repeatable: bool = False


class Transport:
    """One server, one identity. Belongs to one event loop at a time."""

    def __init__(self, credentials: Credentials, *, user_agent: str, on_call: OnCall | None = None, connections: int = CONNECTIONS) -> None:
        self.credentials, self._connections = credentials, connections
        self._tokens = TokenSource(credentials)
        self._user_agent = user_agent
        self._on_call = on_call or (lambda verb, code, seconds: None)
        self.clock = ServerClock()
        self._session: aiohttp.ClientSession | None = None
        self._in_flight = 0
        self._idle: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether it holds a TLS context and connections now."""
        return self._session is not None

    async def exchange(self, request: Request, deadline: float) -> bytes:
        """The body of a 2xx answer within `deadline` seconds. A 429 or 503 that names a Retry-After within it is tried once more."""
        try:
            async with asyncio.timeout(deadline):
                try:
                    return await self._once(request)
                except (TooManyRequests, _Disconnected) as error:
                    if isinstance(error, TooManyRequests):
                        if error.disruption_budget or error.retry_after >= deadline:
                            raise
                        await asyncio.sleep(error.retry_after)
                    elif not request.repeatable:
                        raise
                    return await self._once(request)
        except TimeoutError as error:
            what = f"{request.method} {self.credentials.server}{request.path}"
            raise DeadlineExceeded(f"{what} had no answer within {deadline:g} s") from error

    async def _once(self, request: Request) -> bytes:
        began, code = time.monotonic(), 0
        try:
            async with self.open(request, aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)) as response:
                code = response.status
                self.clock.heard(response.headers.get("Date", ""))
                body = await response.read()
                if code >= HTTPStatus.MULTIPLE_CHOICES:
                    if code == HTTPStatus.UNAUTHORIZED:
                        self._tokens.expire()
                    raise error_of(code, body, response.headers.get("Retry-After", ""))
                return body
        except (aiohttp.ClientError, OSError) as error:
            raise self._no_answer(error) from error
        finally:
            self._on_call(request.verb, code, time.monotonic() - began)

    def _no_answer(self, error: Exception) -> KubeError:
        if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
            return _Disconnected(f"{self.credentials.server} cannot be reached: {why_no_answer(error)}")
        return no_answer(self.credentials.server, error)

    @asynccontextmanager
    async def open(self, request: Request, limits: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer as it comes, for watches; errors are aiohttp's."""
        session = self._borrow()
        try:
            headers = await self._headers(request)
            url = f"{self.credentials.server}{request.path}{_query_of(request.query)}"
            data = None if request.body is None else json.dumps(request.body).encode()
            tls_name = self.credentials.tls_server_name or None
            async with session.request(
                request.method, URL(url, encoded=True), headers=headers, data=data, timeout=limits, server_hostname=tls_name
            ) as response:
                yield response
        finally:
            self._give_back()

    async def _headers(self, request: Request) -> LooseHeaders:
        headers = [("Accept", "application/json"), ("Accept-Encoding", "identity")]
        headers += [("Content-Type", request.content_type), ("User-Agent", self._user_agent)]
        if token := await self._tokens.token():
            headers.append(("Authorization", f"Bearer {token}"))
        if self.credentials.as_user:
            headers.append(("Impersonate-User", self.credentials.as_user))
            headers += [("Impersonate-Group", group) for group in self.credentials.as_groups]
        return headers

    def _borrow(self) -> aiohttp.ClientSession:
        self._in_flight += 1
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if self._session is None:
            self._session = session_of(self.credentials, self._connections)
        return self._session

    def _give_back(self) -> None:
        self._in_flight -= 1
        if not self._in_flight and self._session is not None:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        if not self._in_flight:
            self._closing = asyncio.ensure_future(self.close())

    async def close(self) -> None:
        """Drop connections and the TLS context; the next request opens them anew."""
        if self._idle:
            self._idle.cancel()
        session, self._session, self._idle = self._session, None, None
        if session:
            await session.close()


def session_of(credentials: Credentials, connections: int = CONNECTIONS) -> aiohttp.ClientSession:
    """A session with our keys, which go into TLS from memory. Raises Unauthorized if they are no certificate and key."""
    try:
        context = credentials.ssl_context()
    except (ssl.SSLError, ValueError) as error:
        raise Unauthorized(f"the certificate, key or CA for {credentials.server} is unusable: {error}") from error
    connector = aiohttp.TCPConnector(limit=connections, ssl=context)
    return aiohttp.ClientSession(connector=connector, proxy=credentials.proxy or None, trust_env=False)


def no_answer(server: str, error: Exception) -> Unreachable:
    """What a connection that failed is told as: a certificate that does not verify is another thing than a server that is away."""
    if mistrust(error):
        return Untrusted(f"{server} is not trusted: {why_no_answer(error)}")
    return Unreachable(f"{server} cannot be reached: {why_no_answer(error)}")


class _Disconnected(Unreachable):
    """The server closed a kept connection while we asked: what is repeatable is asked again once."""


def _query_of(query: Mapping[str, str] | None) -> str:
    return f"?{urlencode(query)}" if query else ""


BY_STATUS: Mapping[int, type[KubeError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    410: WatchExpired,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


APPLY_TYPES = "failed to create typed patch object"
"""How server-side apply says, with a 500, that a value is of the wrong type or stands twice in a set."""


def error_of(code: int, body: bytes, retry_after: str = "") -> KubeError:
    """The typed error for a non-2xx answer; the message is the server's own."""
    status = status_of(body)
    text = body.decode(errors="replace")
    message = str(status.get("message") or failing_checks(text) or text[:300].strip() or f"HTTP {code}")
    if code == HTTPStatus.TOO_MANY_REQUESTS or (code == HTTPStatus.SERVICE_UNAVAILABLE and retry_after):
        causes = (status.get("details") or {}).get("causes") or ()
        budget = any(cause.get("reason") == "DisruptionBudget" for cause in causes)
        return TooManyRequests(message, retry_after=_seconds(retry_after), disruption_budget=budget)
    if code == HTTPStatus.CONFLICT and status.get("reason") == "AlreadyExists":
        return AlreadyExists(message, status=code)
    if code == HTTPStatus.INTERNAL_SERVER_ERROR and message.startswith(APPLY_TYPES):
        return Invalid(message, status=code)
    if code == HTTPStatus.GATEWAY_TIMEOUT:
        return DeadlineExceeded(message, status=code)
    return BY_STATUS.get(code, Unreachable)(message, status=code)


CHECKS_SHOWN = 3


def failing_checks(text: str) -> str:
    """Of what /readyz or /healthz lists only what fails (`[-]etcd failed: reason withheld`); empty if it is no such list."""
    failed = [line[3:].partition(" failed")[0] for line in text.splitlines() if line.startswith("[-]")]
    if not failed:
        return ""
    more = f" and {len(failed) - CHECKS_SHOWN} more" if len(failed) > CHECKS_SHOWN else ""
    return f"it is not ready, by its own checks: {', '.join(failed[:CHECKS_SHOWN])}{more}"


def status_of(body: bytes) -> Manifest:
    """The Status object of an answer; empty if it is none."""
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdigit() else 1.0

"""What failed connections are called: real failures on this machine's loopback, told without the libraries' own words."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import Credentials
from operators.adapters.kube_transport import error_of
from operators.adapters.no_answer import why_no_answer
from operators.adapters.ssh import _translated
from operators.errors import ErrorCode
from operators.ports.kube import Kind, Unreachable
from operators.ports.ssh import SshTarget

SECRET = Kind("v1", "Secret")
RAW = ("Cannot connect", "Errno", "ssl:", "Connect call", "aiohttp", "(list)", "Error(")


async def told(server: str) -> str:
    """What an API call to that address ends with."""
    client = KubeClient(Credentials(server), field_manager="test")
    try:
        with pytest.raises(Unreachable) as failure:
            await client.list(SECRET)
        return failure.value.message
    finally:
        await client.close()


@asynccontextmanager
async def server_that(answer: bytes | None) -> AsyncIterator[int]:
    """A loopback server that says that to whoever connects (None: breaks off), and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            writer.transport.abort()
            return
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_should_tell_a_refused_connection_from_a_name_that_does_not_resolve() -> None:
    refused = await told("https://127.0.0.1:1")
    assert refused == "https://127.0.0.1:1 cannot be reached: the connection was refused: nothing listens on that port"
    unresolved = await told("https://no-such-host.invalid:6443")
    assert unresolved == "https://no-such-host.invalid:6443 cannot be reached: the name no-such-host.invalid does not resolve"


@pytest.mark.parametrize(
    ("scheme", "answer", "says"),
    [
        ("http", b"", "closed the connection without an answer"),
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "is no HTTP"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", "its answer was cut off"),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS as expected"),
    ],
)
async def test_should_say_what_is_odd_about_an_answer(scheme: str, answer: bytes, says: str) -> None:
    async with server_that(answer) as port:
        message = await told(f"{scheme}://127.0.0.1:{port}")
    assert says in message
    assert not any(word in message for word in RAW), message


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to it"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no route to its network"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "broke the connection off"),
        (TimeoutError(), "did not answer in time"),
        (OSError(errno.EACCES, "Permission denied"), "permission denied"),
        (ValueError(), "ValueError"),
    ],
)
def test_should_name_what_the_kernel_says(error: Exception, says: str) -> None:
    assert says in why_no_answer(error)


READYZ = b"""[+]ping ok
[+]log ok
[+]etcd ok
[-]poststarthook/rbac/bootstrap-roles failed: reason withheld
[-]informer-sync failed: reason withheld
[-]shutdown failed: reason withheld
[-]autoregister-completion failed: reason withheld
readyz check failed
"""


def test_should_tell_only_the_checks_that_fail() -> None:
    filler = b"".join(b"[+]poststarthook/start-something-%d ok\n" % number for number in range(40))
    words = error_of(500, filler + READYZ).message
    checks = "poststarthook/rbac/bootstrap-roles, informer-sync, shutdown and 1 more"
    assert words == f"it is not ready, by its own checks: {checks}"
    assert error_of(500, b"something else broke").message == "something else broke"


def test_should_ask_whether_a_host_without_a_route_is_powered_on() -> None:
    target = SshTarget("demo-2", "10.89.0.12", 22, "root", (), "")
    off = _translated(OSError(errno.EHOSTUNREACH, "No route to host"), target)
    assert (off.code, off.message) == (ErrorCode.HostTimeout, "demo-2 (10.89.0.12:22): there is no route to it; is it powered on?")
    assert _translated(OSError(errno.ECONNREFUSED, "refused"), target).code == ErrorCode.HostRefused

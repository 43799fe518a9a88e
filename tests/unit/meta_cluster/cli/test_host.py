"""`kok host scan` tells what is wrong with an address before it asks for keys: real sockets on loopback."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meta_cluster.cli.host import knock
from meta_cluster.cli.main import run
from operators.errors import ErrorCode, KokError


@contextmanager
def greeter(words: bytes | None) -> Iterator[int]:
    """A loopback server that says that to whoever connects; None: takes the connection and keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if words is not None:
                    connection.sendall(words)
                else:
                    connection.recv(1)  # ends when the caller hangs up

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def failure(address: str, port: int) -> KokError:
    with pytest.raises(KokError) as caught:
        knock(address, port, 1)
    return caught.value


def test_should_take_what_greets_as_ssh() -> None:
    with greeter(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n") as port:
        knock("127.0.0.1", port, 1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (b"220 mail.example ESMTP\r\n", ErrorCode.HostNotSsh, "is no SSH server: it says '220 mail.example ESMTP'"),
        (b"", ErrorCode.HostNotSsh, "is no SSH server: it closes the connection"),
        (None, ErrorCode.HostTimeout, "took the connection and said nothing within 1 s"),
    ],
)
def test_should_tell_what_listens_there_instead(words: bytes | None, code: ErrorCode, says: str) -> None:
    with greeter(words) as port:
        error = failure("127.0.0.1", port)
    assert error.code is code
    assert says in error.message


def test_should_tell_a_refusal_from_a_name_that_does_not_resolve() -> None:
    refused, unresolved = failure("127.0.0.1", 1), failure("no-such-host.invalid", 22)
    assert refused.code is ErrorCode.HostRefused
    assert "the connection was refused" in refused.message
    assert unresolved.code is ErrorCode.HostUnresolved
    assert unresolved.message == "the name no-such-host.invalid does not resolve here"


def test_should_not_say_that_a_host_refused_to_which_there_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr("socket.create_connection", nowhere)
    with pytest.raises(KokError, match="no route to it; is it powered on") as told:
        knock("192.0.2.77", 22, 1)
    assert told.value.code is ErrorCode.HostTimeout


def test_should_tell_a_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(*_: object, **__: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", drop)
    assert failure("192.0.2.1", 22).code is ErrorCode.HostTimeout


def test_should_show_it_as_an_error_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["host", "scan", "127.0.0.1", "-p", "1"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "code  HostRefused" in told.err

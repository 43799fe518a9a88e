"""Waiting for etcd: as long as it takes, for all of them, and saying so."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing

from operators.services.etcd_wait import main, refusal


def a_listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_should_return_at_once_when_all_are_there() -> None:
    with closing(a_listener()) as one, closing(a_listener()) as other:
        assert main([address_of(one), address_of(other)]) == 0


def test_should_say_why_nothing_can_be_had() -> None:
    listener = a_listener()
    address = address_of(listener)
    listener.close()

    assert "refused" in refusal(address)
    assert refusal("no-such-host.invalid:2379")


def test_should_wait_until_the_last_is_there() -> None:
    held = socket.socket()
    held.bind(("127.0.0.1", 0))  # bound but not listening: refused, and nobody else gets the port
    with closing(a_listener()) as one, closing(held):
        command = [sys.executable, "-m", "operators.services.etcd_wait", address_of(one), address_of(held)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
            assert waiting.stdout is not None
            assert waiting.stdout.readline().startswith(f"waiting for etcd at {address_of(held)}: ")
            assert waiting.poll() is None
            held.listen()
            assert waiting.wait(timeout=20) == 0

"""The proxy that nodes have over several meta addresses: the released package's configuration in a real haproxy, servers on loopback.

Only what a process of a test cannot have is exchanged: the user that it becomes, and its address.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from meta_cluster.assets import versions as v
from meta_cluster.assets.debian import install_tools
from operators.api.packages import MachinePackageVersion
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from operators.domain.machine.resolve import resolve_artifacts
from tests.integration.api_server import Child, asset
from tests.unit.operators.domain.plane.rendered import ROOT

pytestmark = pytest.mark.integration
PACKAGE = ROOT / "packages" / "machine" / "api-proxy" / "api-proxy-2.6.12-r1.yaml"
PATIENCE = 30.0
ONE_ANSWER = 5.0
SILENCE = 10.0
"""Seconds after which haproxy cuts a connection whose server acknowledges nothing."""
CLOSE_WAIT = "08"


class MetaAddress:
    """An address that answers every line with its own name, until it closes; what is connected stays open, as when a machine dies."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self._listener = socket.create_server((address, port))
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._kept.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            while connection.recv(100):
                connection.sendall(self.address.encode() + b"\n")
        except OSError:
            return

    def die(self) -> None:
        """Answers nobody new; sends nothing to those it knows."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        for connection in self._kept:
            connection.close()


class Proxy:
    """haproxy out of the released debs, with the released configuration."""

    def __init__(self, folder: Path, net: str) -> None:
        self.folder, self.at, self.port = folder, f"{net}.1", 6443
        self.root = folder / "root"
        for name in (f"haproxy-{v.HAPROXY}", *v.HAPROXY_LIBRARIES):
            subprocess.run(["dpkg-deb", "-x", asset(name), self.root], check=True, timeout=60)
        self.config = folder / "haproxy.cfg"

    def configure(self, hosts: tuple[str, ...], *, fin: str = "1m") -> None:
        text = configuration(hosts).replace("bind 127.0.0.1", f"bind {self.at}")
        assert text.count("-fin 1m") == 2
        text = text.replace("-fin 1m", f"-fin {fin}")
        self.config.write_text(
            "".join(line for line in text.splitlines(keepends=True) if line.strip() not in ("user haproxy", "group haproxy"))
        )

    def edit(self, *without: str) -> None:
        """Take these words out of the configuration."""
        text = self.config.read_text()
        for words in without:
            assert words in text
            text = text.replace(words, "")
        self.config.write_text(text)

    def start(self) -> Child:
        libraries = next(self.root.glob("usr/lib/*-linux-gnu"))
        environment = ["env", f"LD_LIBRARY_PATH={libraries}", str(self.root / "usr/sbin/haproxy")]
        subprocess.run([*environment, "-c", "-q", "-f", self.config], check=True, timeout=20)
        child = Child("haproxy", [*environment, "-W", "-f", self.config, "-p", self.folder / "pid"], self.folder)
        child.start()
        return child

    def reload(self, child: Child) -> None:
        """As `systemctl reload haproxy` does, which waits until the first process has said that it is ready; one that is not takes no signal."""
        until(lambda: self._heard(child, "Loading success"), "haproxy is ready")
        before = self._heard(child, "New worker")
        began, sent = time.monotonic(), 0.0
        while self._heard(child, "New worker") == before:
            now = time.monotonic()
            assert now - began < PATIENCE, "haproxy does not reload"
            if now - sent > 5:  # it is ready a moment after it has said so
                child.signal(signal.SIGUSR2)
                sent = now
            time.sleep(0.02)

    def _heard(self, child: Child, words: str) -> int:
        child.check()
        return child.log.read_text().count(words)

    def half_closed(self) -> int:
        """Connections whose clients have closed them, and haproxy has not."""
        numbers = "".join(f"{int(number):02X}" for number in reversed(self.at.split(".")))
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return sum(line[1:4:2] == [f"{numbers}:{self.port:04X}", CLOSE_WAIT] for line in lines)

    def connect(self) -> socket.socket:
        return socket.create_connection((self.at, self.port), timeout=PATIENCE)


def configuration(hosts: tuple[str, ...]) -> str:
    raw = yaml.safe_load(PACKAGE.read_text())
    index = {each["asset"]: {"sha256": "0" * 64} for each in raw["spec"]["artifacts"]}
    package = MachinePackageVersion.model_validate(resolve_artifacts(raw, index))
    cluster = ClusterFacts("demo", "https://127.0.0.1:6443", "ca", "10.97.0.10", "cluster.local", "10.245.0.0/16", hosts, 31443, 31444)
    (file,) = desired_package(package, HostFacts(NodeFacts("n1", "10.0.0.1"), cluster)).files
    return file.content


def asked(connection: socket.socket) -> str:
    """Who answers on it; empty when it was cut."""
    try:
        connection.sendall(b"who\n")
        return connection.recv(100).decode().strip()
    except OSError:
        return ""


def who_answers(proxy: Proxy, tries: int = 8) -> set[str]:
    """Who answers new connections; those that nobody answers count as an empty name."""
    found = set()
    for _ in range(tries):
        try:
            with proxy.connect() as connection:
                connection.settimeout(ONE_ANSWER)  # one that a process took which is about to end may never be answered
                found.add(asked(connection))
        except OSError:
            found.add("")
    return found


def until(holds: object, what: str) -> float:
    assert callable(holds)
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < 4 * PATIENCE, what  # one look may itself wait for an answer that never comes
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[tuple[Proxy, dict[str, MetaAddress], Child]]:
    net = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}"
    addresses = {f"{net}.{n}": MetaAddress(f"{net}.{n}", 31443) for n in (11, 12, 13)}
    proxy = Proxy(tmp_path, net)
    proxy.configure(tuple(addresses)[:2])
    child = proxy.start()
    try:
        until(lambda: who_answers(proxy) == set(tuple(addresses)[:2]), "both addresses answer")
        yield proxy, addresses, child
    finally:
        child.kill()
        for address in addresses.values():
            address.close()


def one_each(proxy: Proxy, addresses: set[str]) -> dict[str, socket.socket]:
    """A connection to each address."""
    kept: dict[str, socket.socket] = {}
    while set(kept) != addresses:
        connection = proxy.connect()
        kept[asked(connection)] = connection
    return kept


def test_should_give_nobody_new_to_an_address_that_takes_nobody_and_keep_what_works_on_it(
    ground: tuple[Proxy, dict[str, MetaAddress], Child],
) -> None:
    """Checks fail as well where only one of the pods behind a node port is dead."""
    proxy, addresses, _ = ground
    first, second, _ = addresses
    kept = one_each(proxy, {first, second})

    addresses[first].die()

    until(lambda: who_answers(proxy) == {second}, "it is out")
    time.sleep(2)
    assert [asked(kept[each]) for each in (first, second)] == [first, second]


@contextmanager
def swallowed(address: str) -> Iterator[None]:
    """What is sent to that address of this machine's loopback is lost, as when the machine died that had it."""
    install_tools([("iptables", "iptables")])
    rule = ["INPUT", "--in-interface", "lo", "--destination", address, "--jump", "DROP"]
    subprocess.run(["iptables", "--wait", "--insert", *rule], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["iptables", "--wait", "--delete", *rule], check=True, timeout=20)


@pytest.mark.parametrize("notices", [True, False])
def test_should_cut_what_hangs_on_a_machine_that_died(ground: tuple[Proxy, dict[str, MetaAddress], Child], notices: bool) -> None:
    """Idle, and in the middle of a question. The control: without keep-alives of its own and a time-out for what nobody acknowledges it hangs."""
    proxy, addresses, child = ground
    first, second, _ = addresses
    if not notices:
        proxy.edit(" tcp-ut 10s", "srvtcpka-idle 5s")
        proxy.reload(child)
        until(lambda: who_answers(proxy) == {first, second}, "the other configuration is used")
    idle, busy = one_each(proxy, {first, second}), one_each(proxy, {first, second})

    with swallowed(first):
        busy[first].sendall(b"who\n")
        for connection in (idle[first], busy[first]):
            connection.settimeout(PATIENCE if notices else 1.5 * SILENCE)
        if notices:
            seconds = until(lambda: (idle[first].recv(100), busy[first].recv(100)) == (b"", b""), "they are cut")
            print(f"cut {seconds:.1f} s after the machine died")
            assert who_answers(proxy) == {second}
        else:
            with pytest.raises(TimeoutError):
                idle[first].recv(100)
        assert asked(idle[second]) == second, "the other connection lives"


def test_should_take_another_list_of_addresses_without_cutting_connections(ground: tuple[Proxy, dict[str, MetaAddress], Child]) -> None:
    proxy, addresses, child = ground
    _, second, third = addresses
    connection = proxy.connect()
    served = asked(connection)

    proxy.configure((second, third))
    proxy.reload(child)

    until(lambda: who_answers(proxy) == {second, third}, "the new list is used")
    assert asked(connection) == served, "what was connected is served to its end"


@pytest.mark.parametrize("forgets", [True, False])
def test_should_forget_what_only_the_client_has_closed(ground: tuple[Proxy, dict[str, MetaAddress], Child], forgets: bool) -> None:
    """A server that hangs closes nothing. The control: without the two timeouts such connections stay."""
    proxy, addresses, child = ground
    proxy.configure(tuple(addresses)[:2], fin="1s" if forgets else "24h")
    proxy.reload(child)
    of_old = proxy.half_closed()
    assert len(who_answers(proxy, tries=20)) == 2
    until(lambda: proxy.half_closed() >= of_old + 20, "they are half closed")
    if forgets:
        until(lambda: proxy.half_closed() <= of_old, "they are forgotten")
    else:
        time.sleep(3)
        assert proxy.half_closed() >= of_old + 20

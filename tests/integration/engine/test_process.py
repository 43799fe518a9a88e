"""A whole operator on the engine, against a real API server: it converges, rests, hands over, and ends when it must."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.ports.kube import Key, Kind, NotFound, Ref
from tests.integration.api_server import ApiServer
from tests.integration.engine.lamp_operator import CRD, LAMP, LONG, lamp, lamp_process
from tests.integration.kube_proxies import RecordingKube

pytestmark = pytest.mark.integration

OPERATOR = Path(__file__).with_name("lamp_operator.py")


@pytest.fixture
async def lamps(kube: KubeClient, namespace: str) -> str:
    """A namespace on a server that serves Lamps."""
    await kube.apply(CRD)
    for _ in range(300):
        with contextlib.suppress(NotFound):
            await kube.list(LAMP, namespace=namespace)
            return namespace
        await asyncio.sleep(0.1)
    raise AssertionError("the CRD is not served")


async def eventually(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for an (a)synchronous condition."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = holds()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return
        assert asyncio.get_running_loop().time() < deadline, "it did not come true"
        await asyncio.sleep(0.05)


def words_of(kube: KubeClient, namespace: str, name: str, words: str) -> Callable[[], object]:
    async def holds() -> bool:
        found = await kube.get(LAMP.ref(name, namespace))
        return bool(found) and (found.get("status") or {}).get("words") == words

    return holds


class Running:
    """The operator inside this test, over a port that records its writes."""

    def __init__(self, api_server: ApiServer, namespace: str, identity: str) -> None:
        credentials = kubeconfig_credentials(api_server.admin_kubeconfig.read_text())
        self.kube = RecordingKube(KubeClient(credentials, field_manager="lamp-operator"))
        self.process, self.controller = lamp_process(self.kube, credentials, namespace=namespace, identity=identity, lease=LONG)
        self.task = asyncio.create_task(self.process.run())

    async def stop(self) -> int:
        self.process.stop()
        code = await self.task
        await self.kube.close()
        return code


@pytest.fixture
async def running(api_server: ApiServer, lamps: str) -> AsyncIterator[Running]:
    operator = Running(api_server, lamps, "in-test")
    yield operator
    assert await operator.stop() == 0


async def test_should_converge_what_was_there_and_what_comes(kube, lamps, running):
    await kube.apply(lamp(lamps, "new", on=True))
    await eventually(words_of(kube, lamps, "new", "the lamp is lit"))
    await kube.apply(lamp(lamps, "new", on=False))
    await eventually(words_of(kube, lamps, "new", "the lamp is dark"))
    await kube.patch_status(LAMP.ref("new", lamps), {"words": "broken by hand"})
    await eventually(words_of(kube, lamps, "new", "the lamp is dark"))


async def test_should_give_the_lease_back_when_it_is_cancelled(api_server, kube, lamps):
    """Else its guard would end whoever ran it."""
    operator = Running(api_server, lamps, "cancelled")
    await eventually(lambda: operator.process.leadership.epoch)
    operator.task.cancel()
    await asyncio.wait({operator.task}, timeout=30)
    assert operator.process.leadership.epoch == 0
    assert await holder(kube, lamps, "")()
    await operator.kube.close()


async def test_should_write_nothing_once_all_is_right(kube, lamps, running):
    for number in range(10):
        await kube.apply(lamp(lamps, f"lamp-{number}", on=True))
    await eventually(lambda: len(running.kube.written()) == 10)
    passes = len(running.controller.passes)
    running.kube.writes.clear()
    for number in range(10):
        running.process._queues["lamps"].add(Key("lamps", lamps, f"lamp-{number}"))
    await eventually(lambda: len(running.controller.passes) >= passes + 10)
    await asyncio.sleep(0.5)
    assert running.kube.written() == []


async def test_should_tell_its_words_as_events_once(kube, lamps, running):
    await kube.apply(lamp(lamps, "one", on=True))

    async def told() -> list[str]:
        events = (await kube.list(Kind("events.k8s.io/v1", "Event"), namespace=lamps)).items
        return [event["note"] for event in events]

    await eventually(told)
    await asyncio.sleep(0.3)
    assert await told() == ["the lamp is lit"]


async def test_should_answer_probes_and_scrapes(lamps, running):
    await eventually(lambda: running.process.port)

    def ask(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.process.port}{path}", timeout=5) as answer:
            return answer.read().decode()

    await eventually(lambda: running.process.leadership.epoch)
    assert await asyncio.to_thread(ask, "/healthz") == "ok\n"
    await eventually(lambda: 'kok_queue_depth{controller="lamps"}' in running.process.metrics.text().decode())
    running.process.sweeper.deaf = "the watch is deaf"
    with pytest.raises(urllib.error.HTTPError, match="503"):
        await asyncio.to_thread(ask, "/healthz")
    assert "kok_leader_epoch" in await asyncio.to_thread(ask, "/metrics")


class Child:
    """The operator as a process of its own."""

    def __init__(self, api_server: ApiServer, namespace: str, identity: str) -> None:
        argv = [sys.executable, str(OPERATOR), str(api_server.admin_kubeconfig), namespace, identity]
        root = str(Path(__file__).parents[3])
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root})

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def child(api_server: ApiServer, lamps: str) -> Iterator[Callable[[str], Child]]:
    children: list[Child] = []

    def start(identity: str) -> Child:
        children.append(Child(api_server, lamps, identity))
        return children[-1]

    yield start
    for each in children:
        each.end()


async def exit_code(child: Child, seconds: float) -> int:
    return await asyncio.wait_for(asyncio.to_thread(child.process.wait), seconds)


def holder(kube: KubeClient, namespace: str, identity: str) -> Callable[[], object]:
    async def holds() -> bool:
        lease = await kube.get(Ref("coordination.k8s.io/v1", "Lease", namespace, "lamps"))
        return bool(lease) and lease["spec"].get("holderIdentity") == identity

    return holds


async def test_should_go_on_where_a_killed_process_stopped(kube, lamps, child):
    one = child("one")
    await kube.apply(lamp(lamps, "a", on=True))
    await eventually(words_of(kube, lamps, "a", "the lamp is lit"))
    first = (await kube.get(LAMP.ref("a", lamps)))["status"]["epoch"]
    one.process.send_signal(signal.SIGKILL)
    await kube.apply(lamp(lamps, "a", on=False))
    child("two")
    await eventually(words_of(kube, lamps, "a", "the lamp is dark"))
    assert (await kube.get(LAMP.ref("a", lamps)))["status"]["epoch"] == first + 1


async def test_should_give_the_lease_back_at_sigterm(kube, lamps, child):
    one = child("one")
    await eventually(holder(kube, lamps, "one"))
    one.process.send_signal(signal.SIGTERM)
    assert await exit_code(one, 30) == 0
    assert await holder(kube, lamps, "")()


async def test_should_end_hard_after_a_stall_and_never_act_beside_its_successor(kube, lamps, child):
    one = child("one")
    await eventually(holder(kube, lamps, "one"))
    two = child("two")
    one.process.send_signal(signal.SIGSTOP)
    await eventually(holder(kube, lamps, "two"))
    await kube.apply(lamp(lamps, "a", on=True))
    await eventually(words_of(kube, lamps, "a", "the lamp is lit"))
    epoch = (await kube.get(LAMP.ref("a", lamps)))["status"]["epoch"]
    one.process.send_signal(signal.SIGCONT)
    assert await exit_code(one, 15) == 70
    await asyncio.sleep(1)
    assert (await kube.get(LAMP.ref("a", lamps)))["status"]["epoch"] == epoch
    assert two.process.poll() is None

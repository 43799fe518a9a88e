"""Two Cluster-Operators while a Cluster is made: the leader is killed, stopped beyond its lease, cut off. Afterwards the same end, nothing twice.

The lease lasts 6 s instead of 15. On an API server of its own, since these operators care for every namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.cluster_operator.main import LEASE
from operators.ports.kube import KubePort, Ref
from tests.integration.api_server import ApiServer
from tests.integration.cluster_operator.world_of_planes import SYSTEM, OneBusinessServer, Stage, package_manifest
from tests.integration.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.integration, pytest.mark.slow]
LEASE_SECONDS = 6
PATIENCE = 240.0
REPLICA = Path(__file__).with_name("replica.py")


async def until(check: Callable[[], Awaitable[Any]], seconds: float = PATIENCE) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await check()):  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.2)
    return found


class Replica:
    """One process behind a proxy of its own; `look` starts it anew when it ended by itself, as a kubelet does."""

    def __init__(self, name: str, folder: Path, proxy: TcpProxy, servers: tuple[ApiServer, ApiServer]) -> None:
        self.name, self.proxy, self._folder = name, proxy, folder
        self.exits: list[int] = []
        self.supervised = True
        for key, server in zip(("meta", "business"), servers, strict=True):
            config = yaml.safe_load(server.kubeconfig("test-admin", groups=["system:masters"]))
            if key == "meta":
                config["clusters"][0]["cluster"]["server"] = proxy.url
            (folder / f"{name}-{key}").write_text(yaml.safe_dump(config))
        files = {"meta": str(folder / f"{name}-meta"), "business": str(folder / f"{name}-business"), "log": str(folder / "writes.log")}
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "lease_seconds": LEASE_SECONDS, **files}))
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        with (self._folder / f"{self.name}.log").open("ab") as log:
            argv = [sys.executable, str(REPLICA), str(self._folder / f"{self.name}.json")]
            return subprocess.Popen(argv, stdout=log, stderr=log, env=environment)

    def look(self) -> None:
        code = self.process.poll()
        if code is not None and self.supervised:
            self.exits.append(code)
            self.process = self._started()

    def writes(self) -> list[dict[str, Any]]:
        path = self._folder / "writes.log"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["replica"] == self.name]

    def end(self) -> None:
        self.supervised = False
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Pair:
    """Two replicas, a kubelet for the planes' pods, and the Stage of one Cluster."""

    def __init__(self, kube: KubePort, stage: Stage, replicas: tuple[Replica, Replica]) -> None:
        self.kube, self.stage, self.replicas = kube, stage, replicas

    async def serve(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            for replica in self.replicas:
                replica.look()
            await self.stage.pods.tick()

    async def leader(self) -> Replica | None:
        lease = await self.kube.get(Ref("coordination.k8s.io/v1", "Lease", SYSTEM, LEASE))
        holder = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
        return next((replica for replica in self.replicas if holder.startswith(f"{replica.name}_")), None)

    def other(self, one: Replica) -> Replica:
        return next(replica for replica in self.replicas if replica is not one)

    async def is_done(self) -> bool:
        conditions = (await self.stage.cluster()).get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@pytest.fixture
async def pair(own_api_server: ApiServer, business_server: ApiServer, tmp_path: Path) -> AsyncIterator[tuple[Pair, dict[str, Any]]]:
    """And what an undisturbed creation ends with."""
    own_api_server.install_kinds()
    own_api_server.start_controller_manager()
    admin = "test-admin", ["system:masters"]
    kube, inside = (
        KubeClient(kubeconfig_credentials(s.kubeconfig(admin[0], groups=admin[1])), field_manager="kok-cluster-operator")
        for s in (own_api_server, business_server)
    )
    for manifest in (
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in (SYSTEM, "left", "right")),
        package_manifest(),
    ):
        await kube.create(manifest)
    stages = [Stage(kube, OneBusinessServer(inside), namespace) for namespace in ("left", "right")]
    await stages[0].create()
    await stages[0].settle(stages[0].operator(), patience=PATIENCE)
    reference = await stages[0].snapshot()
    async with TcpProxy(own_api_server.url) as one, TcpProxy(own_api_server.url) as two:
        replicas = [Replica(name, tmp_path, proxy, (own_api_server, business_server)) for name, proxy in (("one", one), ("two", two))]
        made = Pair(kube, stages[1], (replicas[0], replicas[1]))
        serving = asyncio.create_task(made.serve())
        try:
            await until(made.leader)
            yield made, reference
        finally:
            serving.cancel()
            for replica in replicas:
                replica.end()
            for each in replicas:
                print(f"--- {each.name} exits {each.exits}\n{(tmp_path / f'{each.name}.log').read_text()[-1500:]}")
    for client in (kube, inside):
        await client.close()


async def killed(pair: Pair, leader: Replica) -> None:
    leader.process.send_signal(signal.SIGKILL)


async def stopped(pair: Pair, leader: Replica) -> None:
    """SIGSTOP until the other has written, then SIGCONT: it ends at once, and writes nothing."""
    other, leader.supervised = pair.other(leader), False
    before = len(other.writes())
    leader.process.send_signal(signal.SIGSTOP)

    async def wrote() -> bool:
        return len(other.writes()) > before

    await until(wrote)
    took_over = other.writes()[before]["at"]
    leader.process.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(leader.process.wait, 60) == 70
    assert [write for write in leader.writes() if write["at"] > took_over] == [], "the old one acted beside the new one"
    leader.supervised = True


async def partitioned(pair: Pair, leader: Replica) -> None:
    leader.proxy.cut()
    other = pair.other(leader)

    async def taken() -> bool:
        return await pair.leader() is other and 70 in leader.exits

    await until(taken)
    leader.proxy.restore()


async def meta_down(pair: Pair, leader: Replica) -> None:
    """Four leases without a meta API: 60 s of 15."""
    for replica in pair.replicas:
        replica.proxy.cut()
    await asyncio.sleep(4 * LEASE_SECONDS)
    assert 70 in leader.exits
    for replica in pair.replicas:
        replica.proxy.restore()


async def slowed(pair: Pair, leader: Replica) -> None:
    """Half a second for every answer: as 2 s would be to a lease of 15."""
    for replica in pair.replicas:
        replica.proxy.latency = 0.5


async def watches_dropped(pair: Pair, leader: Replica) -> None:
    for _ in range(4):
        leader.proxy.reset()
        await asyncio.sleep(1)


@pytest.mark.parametrize("disturb", [killed, stopped, partitioned, meta_down, slowed, watches_dropped], ids=lambda each: each.__name__)
async def test_should_make_the_same_plane_whatever_happens_to_the_leader(
    pair: tuple[Pair, dict[str, Any]], disturb: Callable[[Pair, Replica], Awaitable[None]]
) -> None:
    made, reference = pair
    leader = await made.leader()
    assert leader
    before = len(leader.writes())
    await made.stage.create()

    async def in_the_middle() -> bool:
        return len(leader.writes()) > before + 5

    await until(in_the_middle)
    await disturb(made, leader)
    await until(made.is_done)
    snapshot = await made.stage.snapshot()
    assert {name for name in reference if reference[name] != snapshot.get(name)} == set()
    assert set(snapshot) == set(reference)
    creates = Counter(line["write"] for replica in made.replicas for line in replica.writes() if line["write"].startswith("create "))
    assert [write for write, count in creates.items() if count > 1 and "OperationGrant" not in write] == [], "nothing twice"

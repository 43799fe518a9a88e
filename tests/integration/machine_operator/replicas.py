"""Two Machine-Operators as processes, each behind network of its own, a kubelet's restarts, and what they did, for tests of failover."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from operators.ports.kube import Ref
from tests.integration.api_server import ApiServer
from tests.integration.machine_operator.kubelet import SimKubelet
from tests.integration.machine_operator.rig import Rig
from tests.integration.machine_operator.shared_hosts import SharedFleet
from tests.integration.tcp_proxy import TcpProxy

LEASE_SECONDS = 6
START_SECONDS = 150.0
"""Two interpreters start beside two API servers, perhaps on a machine that is busy."""
REPLICA = Path(__file__).with_name("replica.py")


class Replica:
    """One process; `supervised` starts it anew when it ends by itself, as a kubelet does."""

    def __init__(self, name: str, config: Path, proxies: tuple[TcpProxy, TcpProxy]) -> None:
        self.name, self.meta, self.business = name, *proxies
        self._config = config
        self.exits: list[int] = []
        self.supervised = True
        self.log = config.with_suffix(".log")
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, str(REPLICA), str(self._config)], stdout=log, stderr=log, env=environment)

    def look(self) -> None:
        code = self.process.poll()
        if code is not None and self.supervised:
            self.exits.append(code)
            self.process = self._started()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.supervised = False
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Replicas:
    """The two of them, their hosts and their kubelets."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.fleet, self._folder = rig, SharedFleet(folder), folder
        self.all: list[Replica] = []
        self._kubelets: dict[str, SimKubelet] = {}
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *names: str, **config: Any) -> None:
        for name in names:
            proxies = [await self._stack.enter_async_context(TcpProxy(s.url)) for s in (self.rig.meta_server, self.rig.business_server)]
            self.all.append(Replica(name, self._write_config(name, proxies, config), (proxies[0], proxies[1])))
        if not self._tasks:
            self._tasks = [asyncio.create_task(each) for each in (self._supervise(), self._live(), self.rig.centre.serve())]

    def _write_config(self, name: str, proxies: list[TcpProxy], more: dict[str, Any]) -> Path:
        files = {}
        for key, proxy, server in zip(("meta", "business"), proxies, (self.rig.meta_server, self.rig.business_server), strict=True):
            files[key] = str(self._folder / f"{name}-{key}.kubeconfig")
            Path(files[key]).write_text(_behind(server, proxy))
        config = {
            "folder": str(self._folder),
            "name": name,
            "namespace": self.rig.namespace,
            "lease_seconds": LEASE_SECONDS,
            **files,
            **more,
        }
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps({**config, "endpoint": self.rig.business_server.url}))
        return path

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            for replica in self.all:
                replica.look()

    async def _live(self) -> None:
        """A kubelet that was brought a token registers its node."""
        while True:
            await asyncio.sleep(0.3)
            with self.fleet.locked() as fleet:
                waiting = [
                    h for h in fleet.hosts.values() if h.bootstrap_kubeconfig and "kubelet" in h.installed and h.name not in self._kubelets
                ]
            for host in waiting:
                kubelet = self._kubelets[host.name] = SimKubelet(host)
                self._tasks.append(asyncio.create_task(self._bootstrap(kubelet)))

    async def _bootstrap(self, kubelet: SimKubelet) -> None:
        await kubelet.bootstrap()
        with self.fleet.locked() as fleet:
            next(host for host in fleet.hosts.values() if host.name == kubelet.host.name).kubelet_credentials = True

    async def holder(self) -> str:
        lease = await self.rig.meta.get(Ref("coordination.k8s.io/v1", "Lease", self.rig.namespace, "demo-machine-operator"))
        return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "").partition("_")[0]

    async def leader(self) -> Replica | None:
        holder = await self.holder()
        return next((replica for replica in self.all if replica.name == holder), None)

    def other(self, one: Replica) -> Replica:
        return next(replica for replica in self.all if replica is not one)

    def writes(self, replica: Replica) -> list[dict[str, Any]]:
        return [line for line in self.fleet.lines("writes.log") if line["replica"] == replica.name]

    async def close(self) -> None:
        for replica in self.all:
            replica.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for kubelet in self._kubelets.values():
            if kubelet.client:
                await kubelet.client.close()
        await self._stack.aclose()


def _behind(server: ApiServer, proxy: TcpProxy) -> str:
    config = yaml.safe_load(server.kubeconfig("test-admin", groups=["system:masters"]))
    config["clusters"][0]["cluster"]["server"] = proxy.url
    return yaml.safe_dump(config)


@contextlib.asynccontextmanager
async def two_replicas(rig: Rig, folder: Path, hosts: int, **config: Any) -> AsyncIterator[tuple[Replicas, list[dict[str, Any]]]]:
    """Both are up, one leads, and a pool of hosts is wished."""
    replicas = Replicas(rig, folder)
    wished = [rig.host(f"m{number}", number) for number in range(1, hosts + 1)]
    with replicas.fleet.locked() as fleet:
        fleet.hosts.update(rig.fleet.hosts)
    try:
        await replicas.start("one", "two", **config)
        await rig.until(replicas.leader, seconds=START_SECONDS)
        await rig.pool(wished)
        yield replicas, wished
    except AssertionError as error:
        logs = "\n".join(f"--- {r.name} exits {r.exits}\n{r.log.read_text()[-2500:]}" for r in replicas.all)
        acts = "\n".join(str(line) for line in replicas.fleet.lines("acts.log"))
        raise AssertionError(f"{error}\n{logs}\n{acts}") from error
    finally:
        await replicas.close()

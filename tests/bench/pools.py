"""Pools: what a thousand machines cost while nothing changes, and what one more host costs in a small pool and in a large one.

Real: two API servers, the Machine-Operator's controllers, certificates and Nodes. Simulated: hosts (SSH and Ansible are twins that keep
state). Counted are looks at hosts, Ansible runs and calls of both API servers by passes; watches and sweeps are not passes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.engine.logs import set_up_logging
from operators.engine.metrics import READS
from operators.machine_operator import kinds
from operators.machine_operator.world import FIELD_MANAGER
from tests.bench.report import Row, say
from tests.integration.api_server import ApiServer
from tests.integration.machine_operator.conftest import bind_reports
from tests.integration.machine_operator.rig import KEY, Rig, condition

MACHINES = 1000
POOL_SIZE = 200
POOLS = (2, 199)
"""Sizes before a host more: 200 is the most that a pool may have."""
PERIOD = 60.0
"""Seconds between looks at a host that is right: as shipped."""
PERIODS = 2
OPEN_WITHIN = 3600.0
CALM_SECONDS = 20.0
NEVER = 86400.0


def measure(machines: int = MACHINES, pools: tuple[int, int] = POOLS) -> list[Row]:
    """Both; making a thousand machines takes most of the time."""
    set_up_logging(level="warning", component="bench")
    with _servers() as (meta, business):
        return [*asyncio.run(_additions(meta, business, pools)), *asyncio.run(_at_rest(meta, business, machines))]


@contextmanager
def _servers() -> Iterator[tuple[ApiServer, ApiServer]]:
    meta, business = ApiServer(), ApiServer()
    try:
        for server in (meta, business):
            server.start()
            server.install_kinds()
        business.start_controller_manager()
        role = ("--clusterrole=system:node-bootstrapper", "--group=system:bootstrappers")
        business.kubectl("create", "clusterrolebinding", "bootstrap", *role)
        business.kubectl("create", "namespace", "kok-conditions")
        bind_reports(business)
        yield meta, business
    finally:
        meta.close()
        business.close()


class CountedRig(Rig):
    """A rig that counts what its operator asks of the API servers."""

    def __init__(self, meta: ApiServer, business: ApiServer, namespace: str) -> None:
        self.calls: Counter[str] = Counter()
        super().__init__(meta, business, namespace)

    def _client(self, server: ApiServer, manager: str) -> KubeClient:
        credentials = kubeconfig_credentials(server.kubeconfig("test-admin", groups=["system:masters"]))
        counted = {"on_call": self._count} if manager == FIELD_MANAGER else {}
        client = KubeClient(credentials, field_manager=manager, **counted)  # type: ignore[arg-type]
        self.__dict__.setdefault("_clients", []).append(client)
        return client

    def _count(self, verb: str, code: int, seconds: float) -> None:
        self.calls[verb] += 1

    def a_host(self, number: int) -> dict[str, Any]:
        """One of more than an octet's worth."""
        name, address = f"h{number}-{self.tag}", f"172.{int(self.tag[:2], 16)}.{number // 250}.{number % 250 + 1}"
        if (address, 22) not in self.fleet.hosts:
            self.fleet.add(name, address, host_key=KEY)
        return {"name": name, "address": address, "hostKeys": [KEY]}

    def looks(self) -> dict[str, int]:
        """So often each host was looked at."""
        return {host.name: host.probes for host in self.fleet.hosts.values()}

    def writes(self) -> int:
        """Of passes, to both."""
        return sum(count for verb, count in self.calls.items() if verb not in READS)

    async def until_open(self, hosts: list[dict[str, Any]]) -> None:
        """Every Machine Ready, by one list a second."""
        wanted = {host["name"] for host in hosts}
        async with asyncio.timeout(OPEN_WITHIN):
            while wanted:
                machines = (await self.business.list(kinds.MACHINE_KIND, deadline=60.0)).items
                wanted -= {each["metadata"]["name"] for each in machines if condition(each, "Ready").get("status") == "True"}
                await asyncio.sleep(1.0)


async def _rig(meta: ApiServer, business: ApiServer, namespace: str) -> CountedRig:
    rig = CountedRig(meta, business, namespace)
    await rig.meta.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await rig.empty_business()
    await rig.prepare()
    return rig


async def _additions(meta: ApiServer, business: ApiServer, pools: tuple[int, int]) -> list[Row]:
    counted = [await _addition(meta, business, size) for size in pools]
    (small, large), setting = counted, f"one host added to a pool of {pools[1]}, beside a pool of {pools[0]}; hosts simulated"
    return [
        Row("SSH for one more host", "", (float(large[0]),), (float(small[0]),), max_ratio=1.0, setting=setting),
        Row("API calls for one more host", "", (float(large[1]),), (float(small[1]),), max_ratio=1.0, setting=setting),
    ]


async def _addition(meta: ApiServer, business: ApiServer, size: int) -> tuple[int, int]:
    """Looks at hosts and API calls from the new wish until it is there and everything is calm."""
    rig = await _rig(meta, business, f"bench-add-{size}")
    rig.probe_seconds = NEVER
    try:
        hosts = [rig.a_host(number) for number in range(size)]
        await rig.pool(hosts)
        await rig.start()
        await rig.until_open(hosts)
        await asyncio.sleep(CALM_SECONDS)
        looked, asked, added = rig.looks(), Counter(rig.calls), rig.a_host(size)
        await rig.pool([*hosts, added])
        await rig.until_open([added])
        await asyncio.sleep(CALM_SECONDS)
        looks = sum(rig.looks().values()) - sum(looked.values())
        calls = rig.calls - asked
        say(f"pools: one more of {size}: {looks} looks, {calls.total()} calls {dict(calls)}")
        return looks, calls.total()
    finally:
        await rig.close()


async def _at_rest(meta: ApiServer, business: ApiServer, machines: int) -> list[Row]:
    rig = await _rig(meta, business, "bench-rest")
    rig.probe_seconds = PERIOD
    try:
        await rig.start()
        hosts = [rig.a_host(number) for number in range(machines)]
        for first in range(0, machines, POOL_SIZE):
            await rig.pool(hosts[first : first + POOL_SIZE], name=f"workers-{first // POOL_SIZE}")
            await rig.until_open(hosts[: first + POOL_SIZE])
            say(f"pools: {min(machines, first + POOL_SIZE)} machines are open")
        await asyncio.sleep(CALM_SECONDS)
        looked, jobs, written, asked = rig.looks(), len(rig.ansible.jobs), rig.writes(), rig.calls.total()
        await asyncio.sleep(PERIODS * PERIOD)
        most = max(count - looked[name] for name, count in rig.looks().items()) / PERIODS
        setting = f"{machines} machines in pools of {POOL_SIZE}, {PERIODS} periods of {PERIOD:.0f} s; hosts simulated"
        return [
            Row("looks per host and period", "", (most,), max_value=1, setting=f"the host that was looked at most; {setting}"),
            Row("Ansible runs at rest", "", (float(len(rig.ansible.jobs) - jobs),), max_value=0, setting=setting),
            Row("writes at rest, machines", "", (float(rig.writes() - written),), max_value=0, setting=setting),
            Row("API calls at rest, machines", "", (float(rig.calls.total() - asked),), setting=setting),
        ]
    finally:
        await rig.close()

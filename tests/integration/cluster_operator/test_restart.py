"""The Cluster-Operator's process, ended and started again over a fleet at rest: it looks at once at what changed meanwhile, and at the rest in its time.

Three Clusters; real API servers, pods of planes simulated. What a fleet of a thousand gains by it is `tests/bench/scale.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.main import CHECKPOINT
from operators.ports.kube import AlreadyExists, Kind, Manifest
from tests.bench import simulated
from tests.bench.simulated import Operator
from tests.integration.cluster_operator.world_of_planes import SYSTEM, package_manifest
from tests.integration.engine.test_process import eventually

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SIZE = 3
POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy")
ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole")
NOTED, NOT_NOTED = "--resume-from=1", "--resume-from=1000000"
POLL_WITHIN = 90.0


@dataclass(frozen=True, slots=True)
class Fleet:
    meta: Path
    business: Path
    kube: KubeClient
    inside: KubeClient

    @contextmanager
    def operator(self, flag: str) -> Iterator[Operator]:
        with simulated.operator(self.meta, self.business, sweep_seconds=600.0, more=[flag]) as found:
            yield found

    async def noted(self) -> Manifest | None:
        return await self.kube.get(kinds.CONFIG_MAP.ref(CHECKPOINT, SYSTEM))

    async def all_noted(self) -> bool:
        text = ((await self.noted()) or {}).get("data", {}).get("left", "")
        return all(f"cluster {simulated.namespace_of(number)} " in text for number in range(SIZE))

    async def left_at_rest(self) -> None:
        """An operator has found all of it right, and noted that when it ended."""
        if not await self.all_noted():
            with self.operator(NOTED) as found:
                await simulated.grow(self.kube, range(SIZE))
                await simulated.until_ready(self.kube, range(SIZE), within=300.0)
                await looked_at_all(found)
                await eventually(self.all_noted, 120.0)

    async def policies(self, number: int) -> list[str]:
        return sorted(each["metadata"]["name"] for each in (await self.kube.list(POLICY, namespace=simulated.namespace_of(number))).items)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Path, Path]]:
    with simulated.servers() as (meta, business):
        yield meta.admin_kubeconfig, business.admin_kubeconfig


@pytest.fixture
async def fleet(servers: tuple[Path, Path]) -> AsyncIterator[Fleet]:
    kube, inside = (KubeClient(kubeconfig_file_credentials(str(file)), field_manager="test") for file in servers)
    with contextlib.suppress(AlreadyExists):
        await kube.create(package_manifest())
    yield Fleet(*servers, kube, inside)
    await kube.close()
    await inside.close()


def counted(found: Operator, result: str) -> float:
    return found.metric(rf'kok_reconciles_total\{{controller="cluster",result="{result}"\}}')


async def looked_at_all(found: Operator) -> None:
    await eventually(lambda: asyncio.to_thread(lambda: counted(found, "ok") + counted(found, "as-left") >= SIZE))


async def test_should_note_what_is_right_once_it_rests(fleet: Fleet) -> None:
    await fleet.left_at_rest()
    before = await fleet.noted()
    with fleet.operator(NOTED):
        await asyncio.sleep(75)  # every Cluster is polled once
        assert await fleet.noted() == before, "a fleet at rest writes nothing"


async def test_should_look_at_once_at_what_changed_while_nobody_led(fleet: Fleet) -> None:
    """And find in a poll's time what the meta cluster does not show."""
    await fleet.left_at_rest()
    name = (await fleet.policies(1))[0]
    await fleet.kube.delete(POLICY.ref(name, simulated.namespace_of(1)))
    (role, *_) = [
        each for each in (await fleet.inside.list(ROLE, selector="app.kubernetes.io/managed-by=kok")).items if each["metadata"]["name"].startswith("kok")
    ]  # fmt: skip
    role_ref = ROLE.ref(role["metadata"]["name"])
    await fleet.inside.delete(role_ref)
    with fleet.operator(NOTED) as found:
        await eventually(lambda: fleet.kube.get(POLICY.ref(name, simulated.namespace_of(1))))
        await looked_at_all(found)
        assert counted(found, "as-left") == SIZE - 1, "of three Clusters one had changed"
        await eventually(lambda: fleet.inside.get(role_ref), POLL_WITHIN)


async def test_should_go_through_all_of_it_where_nothing_was_noted(fleet: Fleet) -> None:
    """The control, and what a small fleet does."""
    await fleet.left_at_rest()
    await fleet.kube.delete(kinds.CONFIG_MAP.ref(CHECKPOINT, SYSTEM))
    with fleet.operator(NOT_NOTED) as found:
        await looked_at_all(found)
        assert counted(found, "as-left") == 0
    assert await fleet.noted() is None, "it wrote what it was told not to"


async def test_should_write_it_when_it_is_ended_and_take_nothing_over_from_other_code(fleet: Fleet) -> None:
    await fleet.left_at_rest()
    await fleet.kube.delete(kinds.CONFIG_MAP.ref(CHECKPOINT, SYSTEM))
    with fleet.operator(NOTED) as found:
        await looked_at_all(found)
    written = await fleet.noted()
    assert written is not None, "the time to rest had not come: it is written at the end"
    other = {**written, "metadata": {"name": CHECKPOINT, "namespace": SYSTEM}, "data": {**written["data"], "build": "another"}}
    await fleet.kube.apply(json.loads(json.dumps(other)))
    with fleet.operator(NOTED) as found:
        await looked_at_all(found)
        assert counted(found, "as-left") == 0

"""The contract of EtcdPort over real members with the arguments, keys and start steps of their pods."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from operators.adapters.etcd import EtcdClusters
from operators.domain.plane.desired_bootstrap import EtcdBootstrap, bootstrap_record
from operators.domain.plane.etcd_facts import Member
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdAccess, MemberAddress
from tests.contract.etcd import EtcdBench, EtcdContract
from tests.contract.leave import Leave
from tests.integration.api_server import asset
from tests.integration.plane.rendered_plane import RenderedPlane
from tests.unit.operators.domain.plane.rendered import a_cluster

pytestmark = pytest.mark.integration


def access_of(plane: RenderedPlane, *, keys: str = "demo-etcd-operator-client") -> EtcdAccess:
    """As the operator reaches it: by address, trusted by name."""
    data = {name: base64.b64decode(value).decode() for name, value in plane.secrets[keys].data.items()}
    members = tuple(MemberAddress(pod, at, f"{pod}.demo-etcd-peer.demo.svc") for pod, at in plane.members.items())
    return EtcdAccess("demo/demo-etcd", members, data["ca.crt"], data["tls.crt"], data["tls.key"])


def etcdutl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([asset("etcdutl-3.6.8"), *words], capture_output=True, text=True, timeout=30)


class RealBench(EtcdBench):
    def __init__(self, plane: RenderedPlane) -> None:
        self.grants, self.plane = Leave(), plane
        self.clusters = EtcdClusters(self.grants)
        self.port = self.clusters.connect(access_of(plane))

    def url(self, ordinal: int) -> str:
        return f"https://{self.plane.members[self.pod(ordinal)]}:2380"

    async def start(self, ordinal: int, members: tuple[Member, ...]) -> None:
        names = {address: pod for pod, address in self.plane.members.items()}
        listed = tuple(f"{names[each.peer_url[8:-5]]}={each.peer_url}" for each in members)
        record = bootstrap_record(self.plane.inputs.cluster, "etcd", EtcdBootstrap("1", "t", (self.pod(ordinal),), listed, 1))
        done = await asyncio.to_thread(self.plane.start_member, self.pod(ordinal), record["data"])
        assert done.returncode == 0, done.stderr
        await self.answers(ordinal)

    async def answers(self, ordinal: int) -> None:
        for _ in range(300):
            try:
                if (await self.port.status(self.pod(ordinal))).leader:
                    return
            except KokError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.pod(ordinal)} does not answer")

    def kill(self, ordinal: int) -> None:
        self.plane.kill(self.pod(ordinal))


@pytest.fixture
async def bench() -> AsyncIterator[RealBench]:
    plane = RenderedPlane(a_cluster())
    real = RealBench(plane)
    try:
        assert (await asyncio.to_thread(plane.start_member, "demo-etcd-0")).returncode == 0
        await real.answers(0)
        yield real
    finally:
        await real.clusters.close()
        plane.close()


class TestRealEtcd(EtcdContract):
    """The contract over etcd itself."""

    async def test_should_give_a_snapshot_that_etcd_takes(self, bench: RealBench, tmp_path: Path) -> None:
        path = tmp_path / "snapshot.db"
        with path.open("wb") as file:
            async for piece in bench.port.snapshot("demo-etcd-0"):
                file.write(piece)

        for words in (("status", str(path)), ("restore", str(path), f"--data-dir={tmp_path / 'new'}")):
            done = await asyncio.to_thread(etcdutl, "snapshot", *words)
            assert done.returncode == 0, done.stderr

    async def test_should_speak_only_to_whom_the_certificate_names(self, bench: RealBench) -> None:
        wrong = tuple(MemberAddress(each.pod, each.address, "other.demo.svc") for each in access_of(bench.plane).members[:1])
        access = access_of(bench.plane)
        port = bench.clusters.connect(EtcdAccess(access.name, wrong, access.ca_pem, access.certificate_pem, access.key_pem))

        with pytest.raises(KokError) as caught:
            await port.status("demo-etcd-0")
        assert caught.value.code is ErrorCode.Unreachable
        assert "certificate does not verify" in caught.value.message

    async def test_should_not_answer_keys_of_another_trust_domain(self, bench: RealBench) -> None:
        port = bench.clusters.connect(access_of(bench.plane, keys="demo-front-proxy-client"))

        with pytest.raises(KokError):
            await port.member_list()

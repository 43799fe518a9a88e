from __future__ import annotations

import pytest

from operators.adapters.sim_etcd import SimEtcds
from operators.domain.plane.etcd_facts import Member
from operators.ports.etcd import EtcdAccess, MemberAddress
from tests.contract.etcd import EtcdBench, EtcdContract
from tests.contract.leave import Leave


class SimBench(EtcdBench):
    def __init__(self) -> None:
        self.grants = Leave()
        etcds = SimEtcds(self.grants)
        members = tuple(MemberAddress(self.pod(each), "10.0.0.1", "") for each in range(5))
        self.port = etcds.connect(EtcdAccess("demo/demo-etcd", members, "", "", ""))
        self.etcd = etcds.etcds["demo/demo-etcd"]
        self.etcd.begin({self.pod(0): self.url(0)})

    def url(self, ordinal: int) -> str:
        return f"https://{self.pod(ordinal)}.demo-etcd-peer.demo.svc:2380"

    async def start(self, ordinal: int, members: tuple[Member, ...]) -> None:
        assert self.etcd.start(self.pod(ordinal))

    def kill(self, ordinal: int) -> None:
        self.etcd.stop(self.pod(ordinal))


@pytest.fixture
def bench() -> EtcdBench:
    return SimBench()


class TestSimEtcd(EtcdContract):
    """The contract over the twin."""

"""Which artifacts have to be at hand before a run begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.adapters.ansible import AnsibleRunner
from operators.api.packages import Artifact
from operators.domain.machine.host import Owner
from operators.errors import ErrorCode, KokError
from operators.ports.ansible import AnsibleJob, HostWork, JobAction
from operators.ports.grants import NoLeave
from operators.ports.ssh import SshTarget

A, B = "a" * 64, "b" * 64


class Store:
    """Has only some."""

    def __init__(self, *digests: str) -> None:
        self.digests = digests

    async def fetch(self, sha256: str, *, deadline: float) -> Path:
        if sha256 not in self.digests:
            raise KokError(ErrorCode.ArtifactMissing, f"no artifact {sha256[:12]}")
        return Path(sha256)


def work(host: str, *, stored: frozenset[str] = frozenset()) -> HostWork:
    artifacts = tuple(Artifact.model_validate({"name": d[0], "sha256": d, "as": "File", "path": "/x"}) for d in (A, B))
    return HostWork(
        SshTarget(host, "10.0.0.1", 22, "root", ("k",), "key"), Owner("c", "demo", "w"), artifacts=artifacts, stored=stored, grant=None
    )


async def fetched(store: Store, *works: HostWork) -> dict[str, Path]:
    return await AnsibleRunner(store, Path(), grants=NoLeave())._fetch(AnsibleJob("x", JobAction.Stage, works, 60))


async def test_should_need_what_any_host_lacks() -> None:
    assert set(await fetched(Store(A, B), work("m1"))) == {A, B}
    with pytest.raises(KokError, match="no artifact b"):
        await fetched(Store(A), work("m1", stored=frozenset({B})), work("m2"))


async def test_should_do_without_what_every_host_has() -> None:
    assert set(await fetched(Store(A), work("m1", stored=frozenset({B})), work("m2", stored=frozenset({A, B})))) == {A}

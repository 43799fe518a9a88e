"""The same with a real sshd, real Ansible and real API servers: what is staged arrives once, survives a kill, and is what the host is made of later."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.adapters.ansible import AnsibleRunner, Limits
from operators.adapters.artifacts_http import HttpArtifacts
from operators.adapters.grants_kube import KubeGrants
from operators.adapters.ssh import SshProbe
from operators.machine_operator import kinds
from operators.ports.ansible import AnsibleJob, HostOutcome
from operators.ports.grants import GrantsPort
from tests.integration.machine_operator.own_host import OwnHost, is_possible
from tests.integration.machine_operator.rig import Rig, condition, mpv
from tests.integration.machine_operator.test_staging import counts, shown, wish

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not is_possible(), reason="needs root, sshd and unshare")]
PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
MIB = 1 << 20
INSTALLED = "/etc/kok-demo"
STATE = f"find /etc /var/cache/kok -type f -printf '%p %i %T@ %C@\\n' | grep -v staging/ | sort; cat {INSTALLED}/* | sha256sum"


class Counting(AnsibleRunner):
    """Knows what was run."""

    def __init__(self, store: Path, cache: Path, *, grants: GrantsPort) -> None:
        super().__init__(HttpArtifacts(f"file://{store}", cache), PLAYBOOKS, Limits(), grants=grants)
        self.jobs: list[AnsibleJob] = []
        self.outcomes: list[HostOutcome] = []

    async def run(self, job: AnsibleJob) -> dict[str, HostOutcome]:
        self.jobs.append(job)
        found = dict(await super().run(job))
        self.outcomes += found.values()
        return found


class Ground:
    """One real host of a rig, and a store with two versions of a tool, the second of two files."""

    def __init__(self, rig: Rig, host: OwnHost, folder: Path) -> None:
        self.rig, self.host, self.folder, self.store = rig, host, folder, folder / "store"
        self.store.mkdir()
        self.big = self.keep(os.urandom(64 * MIB))
        self.small = self.keep(b"small")
        self.old, self.new = f"tool-1-{rig.tag}", f"tool-2-{rig.tag}"
        self.runner = self.fresh()

    def keep(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self.store / digest).write_bytes(content)
        return digest

    def fresh(self) -> Counting:
        """As a new process has it."""
        self.runner = Counting(self.store, self.folder / "cache", grants=KubeGrants(self.rig.meta))
        self.rig.real = (SshProbe(PLAYBOOKS), self.runner)
        return self.runner

    async def prepare(self) -> None:
        """Its pool, with the first version on the host."""
        artifacts = {self.old: {"tool": self.keep(b"one")}, self.new: {"tool": self.big, "more": self.small}}
        for name, files in artifacts.items():
            listed = [{"name": n, "sha256": digest, "as": "File", "path": f"{INSTALLED}/{n}"} for n, digest in files.items()]
            await self.rig.meta.apply(mpv(name, "tool", artifacts=listed))
        key = {"ssh-privatekey": base64.b64encode(self.host.target.private_key.encode()).decode()}
        await self.rig.meta.patch_json(kinds.SECRET.ref("demo-ssh", self.rig.namespace), {"data": key})
        await self.wants(self.old)
        await self.rig.start()
        await self.rig.until(self.matches, seconds=120)

    async def wants(self, package: str) -> None:
        target = self.host.target
        host = {"name": self.host.name, "address": target.address, "port": target.port, "hostKeys": list(target.host_keys)}
        await self.rig.pool([host], packages={"explicit": [package]})

    async def matches(self) -> bool:
        return condition(await self.rig.machine({"name": self.host.name}), "PackagesReady").get("status") == "True"

    async def restart(self) -> None:
        """The operator is killed with all its children, and another begins."""
        await self.runner.close()
        await self.rig.stop()
        self.fresh()
        await self.rig.start()


@pytest.fixture
def host(rig: Rig, tmp_path: Path) -> Iterator[OwnHost]:
    made = OwnHost(rig.name("own"), tmp_path / "host", disk=os.environ.get("KOK_TEST_DISK", "1g"))
    yield made
    made.close()


@pytest.fixture
async def ground(rig: Rig, host: OwnHost, tmp_path: Path) -> Ground:
    made = Ground(rig, host, tmp_path)
    await made.prepare()
    return made


@pytest.mark.slow
async def test_should_stage_survive_a_kill_and_be_made_of_what_was_staged(ground: Ground) -> None:
    rig, host = ground.rig, ground.host
    await wish(rig, ground.new)
    await _kill_while_it_is_sent(ground)
    assert ground.big not in host.store(), "half a file has no name in the store"
    assert host.shell(f"cat {INSTALLED}/tool") == "one"
    await ground.restart()
    await counts(rig, staged=1, seconds=90)
    assert {ground.big, ground.small} <= host.store()
    assert host.shell(f"cat {INSTALLED}/tool; ls {INSTALLED}") == "onetool\n", "what is installed is as it was"
    state, runs = host.shell(STATE), len(ground.runner.jobs)
    await asyncio.sleep(1.5)
    writes = len(rig.meta_record.written()) + len(rig.business_record.written())
    await asyncio.sleep(3.0)
    assert (host.shell(STATE), len(ground.runner.jobs)) == (state, runs), "the second pass does nothing"
    assert len(rig.meta_record.written()) + len(rig.business_record.written()) == writes

    for digest in (ground.big, ground.small):  # nobody could send them any more
        (ground.store / digest).unlink()
        (ground.folder / "cache" / digest).unlink()
    inode = host.shell(f"stat -c %i /var/cache/kok/sha256/{ground.big}")
    await ground.wants(ground.new)
    await rig.until(lambda: _installed(ground), seconds=120)
    assert host.shell(f"stat -c %i /var/cache/kok/sha256/{ground.big}") == inode
    assert host.shell(f"sha256sum < {INSTALLED}/tool").split()[0] == ground.big


async def _installed(ground: Ground) -> bool:
    return ground.host.shell(f"ls {INSTALLED}").split() == ["more", "tool"] and await ground.matches()


async def _kill_while_it_is_sent(ground: Ground) -> None:
    """Every process of the run is gone before the big file is there whole."""
    folder = ground.host.root / "var/cache/kok/staging"
    for _ in range(20000):
        sent = folder / ground.big
        if sent.exists() and 0 < sent.stat().st_size < 64 * MIB:
            break
        await asyncio.sleep(0.001)
    await ground.runner.close()


@pytest.mark.slow  # its short twin runs the module alone: tests/unit/playbooks/test_staging.py
async def test_should_take_in_what_a_cut_run_sent_whole_and_throw_away_the_rest(ground: Ground) -> None:
    await ground.rig.stop()
    folder = ground.host.root / "var/cache/kok/staging"
    folder.mkdir()
    (folder / ground.small).write_bytes(b"small")
    (folder / ground.big).write_bytes((ground.store / ground.big).read_bytes()[: 32 * MIB])
    (folder / "unknown").write_bytes(b"x")
    (ground.store / ground.small).unlink()
    await wish(ground.rig, ground.new)
    ground.fresh()
    await ground.rig.start()
    await ground.rig.until(lambda: _failed_to_fetch(ground), seconds=90)
    ground.keep(b"small")
    await counts(ground.rig, staged=1, seconds=90)
    assert list(folder.iterdir()) == []
    assert {ground.big, ground.small} <= ground.host.store()
    assert ground.host.shell(f"cat {INSTALLED}/tool; ls {INSTALLED}") == "onetool\n", "what is installed is as it was"


async def _failed_to_fetch(ground: Ground) -> bool:
    return "has no artifact" in (await shown(ground.rig)).get("trouble", "")


@pytest.mark.slow
async def test_should_send_again_what_was_damaged_since_it_was_staged(ground: Ground) -> None:
    await wish(ground.rig, ground.new)
    await counts(ground.rig, staged=1, seconds=90)
    with (ground.host.root / "var/cache/kok/sha256" / ground.big).open("r+b") as file:
        file.write(b"damaged")
    await ground.wants(ground.new)
    await ground.rig.until(lambda: _installed(ground), seconds=120)
    assert not any(outcome.failed for outcome in ground.runner.outcomes), "no version is blamed for a disk"
    assert ground.host.shell(f"sha256sum < {INSTALLED}/tool").split()[0] == ground.big


@pytest.mark.slow
async def test_should_say_that_a_disk_is_full_and_leave_it_as_it_was(rig: Rig, tmp_path: Path) -> None:
    host = OwnHost(rig.name("full"), tmp_path / "full", disk="520m")
    try:
        ground = Ground(rig, host, tmp_path)
        await ground.prepare()
        before = host.store()
        await wish(rig, ground.new)
        found = await counts(rig, staged=0, failed=1, seconds=90)
        assert "disk full: 64 MiB to be staged in /var/cache/kok and 512 MiB that stay free for pods, but only 519 MiB are free" in str(
            found
        )
        assert host.store() == before
        told: dict[str, Any] = condition(await rig.machine({"name": host.name}), "Staged")
        assert told["reason"] == "NotStaged"
    finally:
        host.close()

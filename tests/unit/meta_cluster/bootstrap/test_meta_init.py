"""The run of `kok meta init` over simulated hosts: what it does where, and that it does nothing twice. Playbooks are recorded, not played."""

from __future__ import annotations

import base64
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meta_cluster.bootstrap import meta_init
from meta_cluster.bootstrap.meta_init import MetaInit
from meta_cluster.bootstrap.meta_packages import done_mark, wanted_packages
from meta_cluster.bootstrap.play import Player
from operators.adapters.sim_ansible import SimAnsible
from operators.adapters.sim_ssh import HostFault, SimFleet, SimSsh
from operators.errors import ErrorCode, KokError
from operators.ports.grants import NoLeave
from tests.unit.meta_cluster.bootstrap.test_inventory import KEY, THREE, read
from tests.unit.meta_cluster.bootstrap.test_surroundings import DEBS, DIGESTS

ADMIN = b"apiVersion: v1\nkind: Config\n"


@dataclass
class World:
    """Three hosts, and what was played on them."""

    folder: Path
    hosts: SimFleet = field(default_factory=SimFleet)
    plays: list[tuple[str, tuple[Player, ...]]] = field(default_factory=list)
    failing: dict[str, dict[str, str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    brought: int = 0

    def __post_init__(self) -> None:
        for number in (1, 2, 3):
            self.hosts.add(f"meta-{number}", f"192.0.2.1{number}", host_key=KEY)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "out" / "meta.kubeconfig"

    async def play(self, playbook: Path, players: tuple[Player, ...], *, seconds: float) -> dict[str, str]:
        """As kubeadm would: what is not done is done, the kubeconfig lies where it was asked for."""
        self.plays.append((playbook.name, players))
        if failures := self.failing.get(playbook.name):
            return failures
        if playbook.name == "init.yml":
            for player in players:
                self.hosts.hosts[player.target.address, 22].install(done_mark())
            (Path(players[0].variables["kok_out"]) / "admin.conf").write_bytes(ADMIN)
        return {}

    def run_of(self) -> MetaInit:
        inventory = read(self.folder, THREE)
        packages = wanted_packages(inventory, DIGESTS, DEBS, None)
        return MetaInit(
            inventory, "key", packages, SimSsh(self.hosts), SimAnsible(self.hosts, grants=NoLeave()), Path("playbooks"), self.said.append
        )

    async def init(self) -> int:
        async def bring() -> int:
            self.brought += 1
            return 13 if self.brought == 1 else 0

        return await self.run_of().run(self.kubeconfig, bring)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path)
    monkeypatch.setattr(meta_init, "play", found.play)
    return found


def configurations(players: tuple[Player, ...]) -> list[str]:
    return [base64.b64decode(player.variables["kok_configuration"]).decode() for player in players]


async def test_should_make_it_once_and_change_nothing_again(world: World) -> None:
    assert await world.init() == 3 + 3 + 13
    assert [name for name, _ in world.plays] == ["check.yml", "init.yml"]
    assert (world.kubeconfig.read_bytes(), stat.S_IMODE(world.kubeconfig.stat().st_mode)) == (ADMIN, 0o600)
    assert {host.jobs for host in world.hosts.hosts.values()} == {1}
    assert await world.init() == 0
    assert [name for name, _ in world.plays] == ["check.yml", "init.yml", "check.yml"]
    assert {host.jobs for host in world.hosts.hosts.values()} == {1}


async def test_should_tell_each_host_its_part(world: World) -> None:
    await world.init()
    players = world.plays[1][1]
    assert [(p.target.name, p.group, p.variables["kok_joining"], p.variables["kok_done"]) for p in players] == [
        ("meta-1", "first", True, False),
        ("meta-2", "others", True, False),
        ("meta-3", "others", True, False),
    ]
    first, *others = configurations(players)
    assert "kind: InitConfiguration" in first
    assert all("kind: JoinConfiguration" in text and "@TOKEN@" in text for text in others)
    keys = {line.strip() for text in (first, *others) for line in text.splitlines() if "certificateKey" in line}
    assert len(keys) == 1
    assert len(keys.pop().split()[1]) == 64
    assert "private_key" not in repr(world.run_of())


async def test_should_go_on_where_a_run_was_cut(world: World) -> None:
    world.failing["init.yml"] = {"meta-2": "kubeadm join: [ERROR Port-10250]: Port 10250 is in use"}
    with pytest.raises(KokError, match=r"meta-2: kubeadm join: .*Port 10250") as raised:
        await world.init()
    assert raised.value.code is ErrorCode.AnsibleFailed
    assert not world.kubeconfig.exists()
    world.failing.clear()
    world.hosts.hosts["192.0.2.11", 22].install(done_mark())
    assert await world.init() == 2 + 13
    assert [p.variables["kok_done"] for p in world.plays[-1][1]] == [True, False, False]


async def test_should_bring_a_lost_kubeconfig_again_without_kubeadm(world: World) -> None:
    await world.init()
    world.kubeconfig.unlink()
    assert await world.init() == 0
    assert world.kubeconfig.read_bytes() == ADMIN
    assert all(p.variables["kok_done"] and not p.variables["kok_joining"] for p in world.plays[-1][1])


async def test_should_put_back_what_somebody_changed(world: World) -> None:
    await world.init()
    world.hosts.hosts["192.0.2.12", 22].spoil_artifact("meta-node", "kubelet")
    assert await world.init() == 1
    assert [host.jobs for host in world.hosts.hosts.values()] == [1, 2, 1]


async def test_should_touch_nothing_when_anything_is_in_the_way(world: World) -> None:
    world.failing["check.yml"] = {
        "meta-1": "look at what a control plane needs: it swaps",
        "meta-3": "look at what a control plane needs: it runs arch",
    }
    with pytest.raises(KokError, match="meta-1: it swaps; meta-3: it runs arch"):
        await world.init()
    assert {host.jobs for host in world.hosts.hosts.values()} == {0}
    world.failing.clear()
    world.hosts.hosts["192.0.2.13", 22].fault = HostFault.NoSudo
    with pytest.raises(KokError, match=r"meta-3 .*may not become root"):
        await world.init()
    assert {host.jobs for host in world.hosts.hosts.values()} == {0}


async def test_should_plan_what_it_would_do_and_do_nothing(world: World) -> None:
    states: list[Any] = await world.run_of().look()
    assert [len(state.todo) for state in states] == [4, 4, 4]
    assert states[0].todo[-1].startswith("run kubeadm")
    assert {host.jobs for host in world.hosts.hosts.values()} == {0}

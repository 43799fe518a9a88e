"""A run as a process: it keeps its secrets, says what went wrong, and ends with everything it started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from meta_cluster.lab import hosts
from operators.adapters.ansible_processes import descendants
from operators.api.packages import Effects, Removal, Unit
from operators.domain.machine.host import DesiredFile, DesiredPackage
from operators.errors import ErrorCode, KokError
from operators.ports.ansible import AnsibleJob, HostWork, JobAction
from tests.contract.hosts import OWNER, Fault, service, settings
from tests.integration.adapters_host.lab_bench import PLAYBOOKS, LabBench

pytestmark = pytest.mark.integration

SECRET = "kok-test-secret-5f1d"
SHM = Path("/dev/shm")


def slow() -> DesiredPackage:
    """A package whose unit takes its time to start."""
    unit = Unit(
        name="kok-slow.service", content="[Service]\nType=oneshot\nExecStart=/bin/sleep 40\n[Install]\nWantedBy=multi-user.target\n"
    )
    files = (DesiredFile("/etc/kok-slow.conf", SECRET, "0600", secret=True),)
    return DesiredPackage("slow-1-r1", "slow", "1", 10, Effects(), files=files, units=(unit,), remove=Removal())


def job(bench: LabBench, *packages: DesiredPackage, timeout: float = 60) -> AnsibleJob:
    work = HostWork(bench.target, OWNER, packages, bootstrap_kubeconfig=f"token: {SECRET}\n", grant=None)
    return AnsibleJob("runs", JobAction.Apply, (work,), timeout)


def visible_of(pid: int) -> str:
    """What anybody on this machine can read of a process."""
    try:
        proc = Path(f"/proc/{pid}")
        return (proc / "cmdline").read_bytes().decode(errors="replace") + (proc / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def folders() -> set[str]:
    return {path.name for path in SHM.glob("kok-*")}


async def vanish(names: set[str]) -> bool:
    """Whether all of these folders go; other workers' runs have folders there too, which go with their runs."""
    for _ in range(300):
        if not names & folders():
            return True
        await asyncio.sleep(0.1)
    return False


def alive(pids: list[int]) -> list[int]:
    """Those that run; a zombie does not."""
    return [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


async def until_on_host(bench: LabBench, what: str) -> None:
    for _ in range(100):
        if bench.shell(f"{what} && echo yes || true").strip().endswith("yes"):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"never: {what}")


@pytest.fixture(autouse=True)
def no_slow_unit(bench: LabBench) -> None:
    bench.shell("systemctl kill -s KILL kok-slow.service 2>/dev/null || true")


async def test_should_keep_secrets_out_of_arguments_and_environment(bench: LabBench) -> None:
    before = folders()
    run = asyncio.create_task(bench.runner.run(job(bench, slow())))
    await until_on_host(bench, "systemctl is-active kok-slow.service | grep -q activating")
    below = descendants(os.getpid())
    seen = "".join(visible_of(pid) for pid in below)
    modes = [oct(path.stat().st_mode & 0o777) for name in folders() - before for path in (SHM / name, *(SHM / name).glob("keys/*"))]
    on_host = bench.shell("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; journalctl --no-pager | tail -500")
    bench.shell("systemctl kill -s KILL kok-slow.service")
    outcome = (await run)[bench.name]

    assert "ansible" in seen
    assert SECRET not in seen
    assert bench.target.private_key.splitlines()[1] not in seen
    assert SECRET not in on_host
    assert modes
    assert set(modes) <= {"0o700", "0o600"}
    assert outcome.failed
    assert SECRET not in outcome.message
    assert await vanish(folders() - before)


async def test_should_end_a_run_with_all_its_children_at_its_timeout(bench: LabBench) -> None:
    before, started = folders(), time.monotonic()
    others = descendants(os.getpid())
    outcome = (await bench.runner.run(job(bench, slow(), timeout=6)))[bench.name]
    assert outcome.failed
    assert outcome.message == "not finished within 6s; the run was ended"
    assert time.monotonic() - started < 12
    assert descendants(os.getpid()) == others
    assert await vanish(folders() - before)


async def test_should_end_its_runs_when_leadership_is_lost(bench: LabBench) -> None:
    others = descendants(os.getpid())
    run = asyncio.create_task(bench.runner.run(job(bench, slow())))
    await until_on_host(bench, "systemctl is-active kok-slow.service | grep -q activating")
    await bench.runner.close()
    outcome = (await asyncio.wait_for(run, 10))[bench.name]
    assert outcome.failed
    assert outcome.message == "the run was ended before this host was finished"
    assert descendants(os.getpid()) == others


async def test_should_die_with_its_parent(bench: LabBench) -> None:
    """SIGKILL to the operator: nobody is left to say goodbye, and still no play goes on and no key stays behind."""
    before = folders()
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(bench.folder), bench.name, cwd=PLAYBOOKS.parent)
    await until_on_host(bench, "systemctl is-active kok-slow.service | grep -q activating")
    below, there = descendants(parent.pid), folders() - before
    assert below
    assert there
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    assert await vanish(there), f"still there: {there & folders()}"
    for _ in range(100):
        if not alive(below):
            return
        await asyncio.sleep(0.1)
    assert not alive(below), f"still there: {[visible_of(pid)[:200] for pid in alive(below)]}"


PARENT = """
import asyncio, sys
from pathlib import Path
from meta_cluster.lab import hosts
from tests.integration.adapters_host.lab_bench import LabBench
from tests.integration.adapters_host.test_runs import job, slow
folder = Path(sys.argv[1]) / "child"
folder.mkdir()
bench = LabBench(hosts.host(sys.argv[2]), folder)
asyncio.run(bench.runner.run(job(bench, slow())))
"""


async def test_should_pass_on_the_last_line_of_a_failing_step(bench: LabBench) -> None:
    broken = Unit(name="kok-slow.service", content="[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo no space for demo; exit 3'\n")
    outcome = await bench.apply(replace(slow(), units=(broken,)), settings())
    assert outcome.failed
    assert outcome.task == "apply slow-1-r1"
    assert "kok-slow.service" in outcome.message
    assert "settings" not in (await bench.probe()).packages


async def test_should_fail_a_unit_that_ends_and_is_started_again_and_again(bench: LabBench) -> None:
    """systemd says that it is active for a moment each time, and `systemctl restart` that all is well."""
    text = "[Service]\nExecStart=/bin/sh -c 'echo cpuManagerPolicy is nonsense; sleep 0.3; exit 1'\nRestart=always\nRestartSec=1\n"
    text += "[Install]\nWantedBy=multi-user.target\n"
    outcome = await bench.apply(replace(slow(), units=(Unit(name="kok-slow.service", content=text),)), settings())
    assert outcome.failed
    assert "kok-slow.service does not stay up: cpuManagerPolicy is nonsense" in outcome.message
    assert "settings" not in (await bench.probe()).packages


async def test_should_say_so_when_a_host_key_changed(bench: LabBench) -> None:
    target = bench.out_of_reach(Fault.OtherHostKey)
    outcomes = await bench.run(JobAction.Apply, HostWork(target, OWNER, (settings(),), grant=None))
    assert outcomes[target.name].failed
    assert "Host key verification failed" in outcomes[target.name].message
    assert bench.shell("test -e /etc/kok && echo yes || true") == ""


async def test_should_touch_no_host_when_an_artifact_is_missing_or_damaged(bench: LabBench) -> None:
    digest = service().artifacts[0].sha256
    (bench.store / digest).write_bytes(b"something else")
    with pytest.raises(KokError) as damaged:
        await bench.apply(service())
    (bench.store / digest).unlink()
    with pytest.raises(KokError) as missing:
        await bench.apply(service())
    assert (damaged.value.code, missing.value.code) == (ErrorCode.ArtifactMismatch, ErrorCode.ArtifactMissing)
    assert bench.shell("test -e /etc/kok && echo yes || true") == ""


async def test_should_give_up_on_a_host_that_is_cut_off_and_find_it_again(bench: LabBench) -> None:
    hosts.partition(bench.name)
    try:
        started = time.monotonic()
        with pytest.raises(KokError) as caught:
            await bench.ports.ssh.probe(bench.target, (), deadline=2)
        assert time.monotonic() - started < 4
        outcome = (await bench.runner.run(job(bench, settings())))[bench.name]
        assert outcome.failed
        assert outcome.message
        assert time.monotonic() - started < 40
    finally:
        hosts.heal(bench.name)
    assert caught.value.code in (ErrorCode.HostTimeout, ErrorCode.HostRefused)
    assert not (await bench.apply(settings())).failed


async def test_should_end_a_probe_that_hangs_on_the_host(bench: LabBench) -> None:
    """sshd answers, the command does not."""
    bench.shell(
        "mv /usr/bin/python3 /usr/bin/python3.away && printf '#!/bin/sh\\nexec sleep 30\\n' > /usr/bin/python3 && chmod +x /usr/bin/python3"
    )
    try:
        with pytest.raises(KokError) as caught:
            await bench.ports.ssh.probe(bench.target, (), deadline=2)
    finally:
        bench.shell("mv -f /usr/bin/python3.away /usr/bin/python3")
    assert caught.value.code is ErrorCode.HostTimeout
    assert "did not answer within 2s" in caught.value.message


async def test_should_say_what_a_host_without_python_lacks(bench: LabBench) -> None:
    bench.shell("mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        with pytest.raises(KokError) as caught:
            await bench.ports.ssh.probe(bench.target, (), deadline=10)
    finally:
        bench.shell("mv -f /usr/bin/python3.away /usr/bin/python3")
    assert caught.value.code is ErrorCode.HostRefused
    assert "python3" in caught.value.message
    assert "installed" in caught.value.hint

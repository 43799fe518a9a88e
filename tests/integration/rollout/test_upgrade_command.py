"""`kok upgrade`, `plan`, `rollout` and `history` on a real API server, with the operators' loops at work: made, planned, ordered, followed, recorded."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from meta_cluster.cli.main import run
from operators.adapters.kube import KubeClient
from operators.cluster_operator.rollout import kinds
from operators.ports.kube import Ref
from tests.integration.api_server import ApiServer
from tests.integration.rollout.driving import current_of, driven, fleet_in_kok_system
from tests.integration.rollout.fleet import NEW, OLD, Fleet

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxP7QkzF3Nq2m0F9k0n8mV1y0q8Yl4nXo8tQm0cJd1e"
Kok = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def kok(api_server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kok:
    """Types a command line; exit code, stdout, stderr."""
    monkeypatch.setenv("KUBECONFIG", str(api_server.admin_kubeconfig))

    async def call(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def upgrade_words(fleet: Fleet, *more: str) -> tuple[str, ...]:
    return ("upgrade", "--to", NEW, "--selector", f"fleet={fleet.name}", "--soak", "2s", *more)


def records_in(out: str) -> list[dict[str, Any]]:
    """JSON lines; the operator of this test logs between them."""
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


async def phase_of(kube: KubeClient, name: str) -> str:
    found = await kube.get(kinds.ROLLOUT.ref(name))
    return str(((found or {}).get("status") or {}).get("phase") or "")


async def until(kube: KubeClient, name: str, phase: str) -> None:
    for _ in range(400):
        if await phase_of(kube, name) == phase:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} is not {phase}: {await kube.get(kinds.ROLLOUT.ref(name))}")


async def test_should_plan_without_leaving_anything_behind(kube: KubeClient, kok: Kok) -> None:
    fleet = await fleet_in_kok_system(kube, 3)
    async with driven(fleet):
        code, out, err = await kok(*upgrade_words(fleet, "--canary", f"{fleet.name}-1/c", "--stages", "60%,rest", "--dry-run"))
    assert (code, err) == (0, "")
    assert out.index("canary   1 cluster,") < out.index(f"1. {fleet.name}-1/c   1.34.4 -> 1.35.4, one hop: rolls apiserver")
    assert "to-60-percent   1 cluster, 1 at a time, soak 2s" in out
    assert "rest   " in out
    assert f"UpgradePlane x3   {fleet.name}: 100 at once free per Fleet, breaker Closed" in out
    assert out.partition("\nRefused\n")[2].startswith("  nothing\n")
    assert not [each for each in (await kube.list(kinds.ROLLOUT)).items if each["metadata"]["name"].startswith("plan-")]
    assert await fleet.touched() == []


async def test_should_fail_a_plan_that_would_be_refused_and_still_show_it(kube: KubeClient, kok: Kok) -> None:
    """As a rollout like it is refused; the control is the plan above, and the same fleet once the flag is gone."""
    fleet = await fleet_in_kok_system(kube, 2)
    cluster = Ref("kok.dev/v1alpha1", "Cluster", f"{fleet.name}-1", "c")
    await kube.patch_json(cluster, {"spec": {"flags": {"apiserver": {"feature-gates": "AllAlpha=true"}}}})
    async with driven(fleet):
        code, out, _ = await kok(*upgrade_words(fleet, "--dry-run"))
        assert code == 1
        assert "asks for alpha" in out.partition("\nRefused\n")[2]
        assert "Nothing would be started: correct what is refused" in out
        code, out, _ = await kok(*upgrade_words(fleet, "--dry-run", "-o", "json"))
        answer, _ = json.JSONDecoder().raw_decode(out[out.index("{\n") :])  # the operator of this test logs before it
        (stalled,) = [each for each in answer["status"]["conditions"] if each["type"] == "Stalled"]
        assert (code, stalled["status"], stalled["reason"]) == (1, "True", "UpgradeRefused")
        await kube.patch_json(cluster, {"spec": {"flags": None}})
        assert (await kok(*upgrade_words(fleet, "--dry-run")))[0] == 0


async def test_should_follow_a_good_one_to_its_end_and_say_what_to_commit(kube: KubeClient, kok: Kok) -> None:
    fleet = await fleet_in_kok_system(kube, 2)
    name = f"good-{uuid4().hex[:6]}"
    async with driven(fleet):
        words = upgrade_words(fleet, "--canary", f"{fleet.name}-0/c", "--name", name, "--reason", "security", "--follow", "--timeout", "2m")
        code, out, err = await kok(*words)
        assert code == 0, err
        assert f"FleetRollout {name} is made" in out
        assert "come back" not in out.partition("\nCommit")[0].partition("PASS")[2], "it is over"
        assert "  Soaking  " in err, "off a terminal every change is a line of progress"
        assert "PASS" in out
        assert f"Cluster {fleet.name}-0/c   spec.packageVersion: {NEW}   (it says {OLD})" in out
        again, out, _ = await kok("rollout", "status", name)
        assert again == 0
        assert "Commit to Git" in out
        code, _, err = await kok("rollout", "pause", name)
        assert (code, "has ended Good" in err) == (1, True)
        await _records_tell(kok, fleet, name)
    before = {each["metadata"]["name"] for each in (await kube.list(kinds.ROLLOUT)).items}
    assert await kok(*upgrade_words(fleet, "--follow")) == (
        0,
        f"unchanged: all 2 clusters with fleet={fleet.name} are at {NEW} already; no FleetRollout was made\n",
        "",
    )
    assert {each["metadata"]["name"] for each in (await kube.list(kinds.ROLLOUT)).items} == before
    assert await fleet.versions() == dict.fromkeys(fleet.clusters, NEW)


async def _records_tell(kok: Kok, fleet: Fleet, name: str) -> None:
    """Both changes and the rollout's end are written down, with who, why and the numbers behind the verdicts."""
    for _ in range(100):
        code, out, err = await kok("history", f"rollout/{name}", "-o", "jsonl")
        assert code == 0, err
        entries = records_in(out)
        ends = [each for each in entries if each["kind"] == "Rollout"]
        changes = [each for each in entries if each["kind"] == "Cluster" and each["outcome"] == "Reached"]
        if ends and len(changes) == 2:
            break
        await asyncio.sleep(0.1)
    (end,) = ends
    assert (end["outcome"], end["from"], end["to"], end["why"], end["who"]) == ("Good", OLD, NEW, "security", "test-admin")
    assert any("pod creation 100.00% -> 100.00%" in each for each in end["verdicts"])
    assert {each["subject"] for each in changes} == set(fleet.clusters)
    assert {each["who"] for each in changes} == {"test-admin"}
    code, out, _ = await kok("history", fleet.clusters[0])
    assert code == 0
    assert "Created" in out
    assert "Reached" in out


async def test_should_take_orders_in_every_state_with_who_and_why(kube: KubeClient, kok: Kok) -> None:
    fleet = await fleet_in_kok_system(kube, 2)
    name = f"orders-{uuid4().hex[:6]}"
    async with driven(fleet):
        words = ("--canary", f"{fleet.name}-0/c", "--approve-each", "--name", name)
        assert (await kok(*upgrade_words(fleet, *words)))[0] == 0
        await until(kube, name, "AwaitingApproval")
        assert (await kok("rollout", "pause", name, "--reason", "incident 42"))[0] == 0
        await until(kube, name, "Paused")
        code, out, _ = await kok("rollout", "status", name)
        assert "ordered a pause (incident 42)" in out
        assert (await kok("rollout", "approve", name, "canary"))[0] == 1, "the first stage needs nobody"
        assert (await kok("rollout", "approve", name))[0] == 0
        assert (await kok("rollout", "approve", name))[0] == 1, "nothing more waits"
        assert (await kok("rollout", "resume", name))[0] == 0
        await until(kube, name, "Good")
        assert (await kok("rollout", "undo", name, "--reason", "breaks billing"))[0] == 0
        code, _, _ = await kok("rollout", "status", name, "--follow", "--timeout", "1m")
        assert code == 1, "taken back"
        await until(kube, name, "Undone")
        assert await fleet.versions() == dict.fromkeys(fleet.clusters, OLD)
        code, out, _ = await kok("rollout", "history", name, "-o", "jsonl")
        told = [each["outcome"] for each in records_in(out) if each["kind"] == "Order"]
    assert told[0] == "started it"
    orders = [order for each in told[1:] for order in each.split(", ")]  # of one second they become one note
    assert sorted(orders) == ["approved rest", "order Go", "order Pause", "order Undo"]
    assert (orders[0], orders[-1]) == ("order Pause", "order Undo")
    assert "breaks billing" in (await current_of(kube, fleet.clusters[0]))["reason"]


def _hears_interrupts() -> None:
    """A shell starts what it leaves in the background deaf to Ctrl-C, and that is inherited: by this run of the tests, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_should_leave_it_running_when_its_follower_leaves(kube: KubeClient, kok: Kok, api_server: ApiServer) -> None:
    fleet = await fleet_in_kok_system(kube, 1)
    name = f"left-{uuid4().hex[:6]}"
    words = [*upgrade_words(fleet, "--stages", "rest", "--name", name, "--follow", "--soak", "6s")]
    command = [sys.executable, "-m", "meta_cluster.cli.main", *words]
    environment = {**os.environ, "KUBECONFIG": str(api_server.admin_kubeconfig)}
    child = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE, preexec_fn=_hears_interrupts)
    async with driven(fleet):
        await until(kube, name, "Soaking")
        child.send_signal(signal.SIGINT)
        _, told = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 130, told.decode()
        assert f"come back with: kok rollout status {name} --follow" in told.decode()
        code, _, err = await kok("rollout", "status", name, "--follow", "--timeout", "1s")
        assert code in (0, 4), err
        await until(kube, name, "Good")


async def test_should_say_when_nobody_answers_a_plan_and_when_time_is_over(
    kube: KubeClient, kok: Kok, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = await fleet_in_kok_system(kube, 1)
    monkeypatch.setattr("meta_cluster.cli.plan.PATIENCE", 0.5)
    code, _, err = await kok("plan", "--to", NEW, "--selector", f"fleet={fleet.name}")
    assert (code, "no Cluster-Operator answered" in err) == (1, True)
    code, _, err = await kok(*upgrade_words(fleet, "--follow", "--timeout", "1s"))
    assert (code, "not over after 1 s; it goes on" in err) == (4, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--to", "kubernetes-1.35.5-rollouts", "--selector", "fleet=FLEET"), "there is kubernetes-1."),
        (("--to", NEW, "--selector", "fleet=nobody"), "no Cluster has these labels"),
        (("--to", NEW, "--selector", "fleet=FLEET", "--canary", "c"), "more than one of the selected members"),
        (("--to", NEW, "--selector", "fleet=FLEET", "--canary", "x"), "none of the selected members"),
    ],
)
async def test_should_refuse_what_does_not_exist_before_anything_is_made(
    kube: KubeClient, kok: Kok, words: tuple[str, ...], says: str
) -> None:
    fleet = await fleet_in_kok_system(kube, 2)
    before = len((await kube.list(kinds.ROLLOUT)).items)
    code, _, err = await kok("upgrade", *(word.replace("FLEET", fleet.name) for word in words))
    assert (code, says in err) == (1, True), err
    assert len((await kube.list(kinds.ROLLOUT)).items) == before


def machine_package(name: str, version: str) -> dict[str, Any]:
    spec = {"component": "agent", "version": version, "order": 50, "effect": {"install": "None", "version": "Drain"}}
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": spec}


async def a_pool_in_service(kube: KubeClient, fleet: Fleet, namespace: str, cluster: str, package: str) -> None:
    """One host, open with that package."""
    host, now = f"{namespace}-1", "2026-03-01T12:00:00Z"
    kok_api = {"apiVersion": "kok.dev/v1alpha1", "metadata": {"name": "w", "namespace": namespace, "labels": {"fleet": fleet.name}}}
    hosts = [{"name": host, "address": "192.0.2.1", "hostKeys": [SSH_KEY]}]
    made = await kube.create(
        {**kok_api, "kind": "MachinePool", "spec": {"clusterName": cluster, "hosts": hosts, "packages": {"explicit": [package]}}}
    )
    opened = [{"name": host, "packages": [package], "at": now, "openedAt": now}]
    await kube.create({**kok_api, "kind": "MachinePoolRelease", "spec": {"hosts": opened}})
    condition = {"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastTransitionTime": now}
    await kube.patch_status(Ref.of(made), {"observedGeneration": made["metadata"]["generation"], "conditions": [condition]})


async def test_should_plan_a_machine_package_over_pools(kube: KubeClient, kok: Kok) -> None:
    fleet = await fleet_in_kok_system(kube, 2)
    old, new = f"agent-1-{fleet.name}", f"agent-2-{fleet.name}"
    for name, version in ((old, "1.0.0"), (new, "2.0.0")):
        await kube.create(machine_package(name, version))
    for key in fleet.clusters:
        await a_pool_in_service(kube, fleet, *key.split("/"), old)
    async with driven(fleet):
        _, out, err = await kok(
            "plan", "--to", new, "--selector", f"fleet={fleet.name}", "--canary", f"{fleet.name}-1/w", "--stages", "rest", "-o", "json"
        )
    assert err == "", err
    data = json.loads(out[out.index('{\n  "spec"') :])
    assert data["spec"]["change"] == {"machinePackageVersion": new}
    assert data["spec"]["stages"][0]["pools"] == [f"{fleet.name}-1/w"]
    told = {member["cluster"]: member["message"] for member in data["status"]["members"]}
    assert list(told) == [f"{fleet.name}-1/w", f"{fleet.name}-0/w"], "the canary first"
    assert all("agent" in words for words in told.values()), told
    assert {each["operation"] for each in data["budgets"]} == {"ApplyPackage"}
    assert data["refused"] == ["ApplyPackage: denied: no OperationBudget is about it"]

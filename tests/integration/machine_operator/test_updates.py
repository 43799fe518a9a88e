"""Packages of machines that live: what a change will do is shown before it is made, forbidden where the pool says so, made batch by batch, and undone."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meta_cluster.assets.folder import AssetsFolder
from operators.adapters.kube_danger import POD
from operators.adapters.sim_ssh import HostFault
from operators.machine_operator import kinds
from operators.ports.kube import Manifest, Subresource
from tests import howto
from tests.integration.machine_operator.rig import Rig, condition, mpv

pytestmark = pytest.mark.integration

BASE = ["containerd-1-r1", "kubelet-1-r1"]
TAINT = "kok.dev/not-ready"


def explicit(*names: str, **update: Any) -> dict[str, Any]:
    return {"packages": {"explicit": list(names)}, **({"update": update} if update else {})}


async def live(rig: Rig, count: int = 1, **spec: Any) -> list[dict[str, Any]]:
    """A pool of hosts in service."""
    hosts = [rig.host(f"m{number}", number) for number in range(1, count + 1)]
    await rig.pool(hosts, **(spec or explicit(*BASE)))
    await rig.start()
    await rig.until(lambda: rig.is_open(*hosts))
    return hosts


async def pending(rig: Rig, host: dict[str, Any]) -> list[dict[str, Any]]:
    return list(((await rig.machine(host)).get("status") or {}).get("pending") or [])


async def pool_status(rig: Rig) -> dict[str, Any]:
    pool: Manifest = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace)) or {}
    return dict(pool.get("status") or {})


async def has(rig: Rig, host: dict[str, Any], component: str, name: str) -> bool:
    return rig.sim(host).installed[component].name == name and await rig.is_open(host)


async def test_should_show_what_a_change_does_and_wait_while_the_pool_forbids_it(rig: Rig) -> None:
    (one,) = await live(rig)
    await rig.pool([one], **explicit("containerd-1-r1", "kubelet-2-r1", maxEffect="Restart"))

    async def shown() -> list[dict[str, Any]]:
        return await pending(rig, one)

    (change,) = await rig.until(shown)
    assert {**change, "waits": ""} == {"component": "kubelet", "from": "kubelet-1-r1", "to": "kubelet-2-r1", "effect": "Drain", "waits": ""}
    assert change["waits"] == "kubelet-2-r1 needs Drain, update.maxEffect allows Restart; raise it, or wish something else"

    async def stalled() -> dict[str, Any]:
        status = await pool_status(rig)
        return status if condition({"status": status}, "Stalled").get("reason") == "EffectRefused" and status.get("pending") else {}

    status = await rig.until(stalled)
    assert status["pending"] == [{"component": "kubelet", "from": "kubelet-1-r1", "to": "kubelet-2-r1", "effect": "Drain", "hosts": 1}]
    assert "kubelet-1-r1 -> kubelet-2-r1 needs Drain" in status["message"]
    assert await rig.is_open(one), "it goes on serving with what it has"
    assert len(rig.ansible.jobs) == 1
    await rig.pool([one], **explicit("containerd-1-r1", "kubelet-2-r1", maxEffect="Drain"))
    await rig.until(lambda: has(rig, one, "kubelet", "kubelet-2-r1"))
    assert rig.centre.granted == [f"ApplyPackage {one['name']}"]

    async def nothing_left() -> bool:
        return not await pending(rig, one) and not (await pool_status(rig)).get("pending")

    await rig.until(nothing_left)


@pytest.mark.parametrize(("policy", "granted"), [("Drain", 1), ("InPlace", 0)])
async def test_should_drain_for_another_kubelet_minor_unless_the_pool_says_in_place(rig: Rig, policy: str, granted: int) -> None:
    for version in ("1.34.4", "1.35.4"):
        name = f"kubelet-{version}-r1"
        await rig.meta.apply({**mpv(name, "kubelet", order=30), "spec": {"component": "kubelet", "version": version, "order": 30}})
    (one,) = await live(rig, **explicit("containerd-1-r1", "kubelet-1.34.4-r1"))
    await rig.pool([one], **explicit("containerd-1-r1", "kubelet-1.35.4-r1", kubeletMinor=policy))
    await rig.until(lambda: has(rig, one, "kubelet", "kubelet-1.35.4-r1"))
    assert len(rig.centre.granted) == granted


async def test_should_go_back_and_forth_and_take_away_in_reverse_order(rig: Rig) -> None:
    for name, order in (("early-1-r1", 3), ("late-1-r1", 90)):
        await rig.meta.apply(mpv(name, name.partition("-")[0], order=order, units=[{"name": "x.service"}]))
    (one,) = await live(rig)
    for names in ([*BASE, "early-1-r1", "late-1-r1"], ["containerd-1-r1", "kubelet-1-r2", "early-1-r1", "late-1-r1"], BASE):
        await rig.pool([one], **explicit(*names))

        async def right(names: list[str] = names) -> bool:
            return sorted(each.name for each in rig.sim(one).installed.values()) == sorted(names) and await rig.is_open(one)

        await rig.until(right)
    last = rig.ansible.jobs[-1].hosts[0]
    assert last.remove == ("late", "early"), "what came last goes first"
    assert [package.name for package in last.packages] == ["kubelet-1-r1"]
    await asyncio.sleep(1.5)
    jobs, writes = len(rig.ansible.jobs), len(rig.meta_record.written()) + len(rig.business_record.written())
    await asyncio.sleep(3 * rig.probe_seconds)
    assert (len(rig.ansible.jobs), len(rig.meta_record.written()) + len(rig.business_record.written())) == (jobs, writes), "nothing to do"


async def test_should_put_back_what_was_changed_by_hand_and_record_it(rig: Rig) -> None:
    (one,) = await live(rig, **explicit(*BASE, "sysctl-1-r1"))
    rig.sim(one).spoil_sysctl("sysctl", "net.ipv4.ip_forward")

    async def repairs() -> list[dict[str, Any]]:
        found = (await rig.machine(one))["status"].get("repairs") or []
        return found if found and found[-1].get("putBackAt") else []

    (repair,) = await rig.until(repairs)
    assert (repair["component"], repair["found"]) == ("sysctl", "sysctl net.ipv4.ip_forward is spoiled, wanted 1")
    await rig.until(lambda: rig.is_open(one))
    events = [event for event in (await rig.business.list(EVENT, namespace="default")).items if one["name"] in str(event.get("regarding"))]
    notes = [event.get("note", "") for event in events]
    assert any(note == "puts back sysctl-1-r1: sysctl net.ipv4.ip_forward is spoiled, wanted 1" for note in notes), notes


async def test_should_remember_a_failure_over_restarts_and_go_on_when_it_is_mended(rig: Rig) -> None:
    hosts = await live(rig, 4, **explicit(*BASE, maxUnavailable={"count": 2, "percent": 100}))
    for host in hosts[:2]:
        rig.sim(host).fault = HostFault.FailsOnApply
    await rig.pool(hosts, **explicit("containerd-1-r1", "kubelet-1-r2", maxUnavailable={"count": 2, "percent": 100}))

    async def stopped() -> str:
        status = await pool_status(rig)
        return str(status["message"]) if condition({"status": status}, "Stalled").get("reason") == "UpdateStopped" else ""

    message = await rig.until(stopped)
    assert f"2 hosts wait: {hosts[0]['name']} failed with these packages" in message or hosts[1]["name"] in message
    rig.sim(hosts[1]).fault = HostFault.Nothing
    await rig.stop()
    await rig.start()
    await rig.until(stopped)
    await asyncio.sleep(2)
    assert [rig.sim(host).installed["kubelet"].name for host in hosts[2:]] == ["kubelet-1-r1"] * 2
    rig.sim(hosts[0]).fault = HostFault.Nothing

    async def all_new() -> bool:
        return all([await has(rig, host, "kubelet", "kubelet-1-r2") for host in hosts])

    await rig.until(all_new)

    async def all_opened() -> bool:
        released = (await rig.meta.get(kinds.POOL_RELEASE.ref("workers", rig.namespace)) or {})["spec"]["hosts"]
        return [(e["before"], bool(e.get("openedAt"))) for e in released] == [(BASE, True)] * 4

    await rig.until(all_opened)


EVENT = kinds.Kind("events.k8s.io/v1", "Event")


async def _drained_node(rig: Rig, one: dict[str, Any]) -> str:
    """A pod on the node that a budget keeps there, so that a drain stays under way; the pod's name."""
    name, labels = f"web-{rig.tag}", {"app": f"web-{rig.tag}"}
    container = {"name": "web", "image": "registry.kok.dev/web:1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels}}
    await rig.business.create({**pod, "spec": {"nodeName": one["name"], "containers": [container], "terminationGracePeriodSeconds": 0}})
    # An eviction passes over the budget of a pod that is pending: it has to run.
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await rig.business.patch_json(POD.ref(name, "default"), {"status": ready}, subresource=Subresource.Status)
    spec = {"minAvailable": 1, "selector": {"matchLabels": labels}}
    head = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "default"}}
    await rig.business.create({**head, "spec": spec})
    return name


async def test_should_cancel_what_was_queued_when_a_person_uncordons(rig: Rig) -> None:
    (one,) = await live(rig)
    pod = await _drained_node(rig, one)
    await rig.pool([one], **explicit("containerd-1-r1", "kubelet-2-r1"))

    async def draining() -> bool:
        found = await rig.business.get(POD.ref(pod, "default")) or {}
        return "kok.dev/to-migrate" in found["metadata"]["labels"] and bool((await rig.node(one) or {})["spec"].get("unschedulable"))

    await rig.until(draining)
    node = kinds.NODE.ref(one["name"])
    await rig.business.patch_json(node, {"spec": {"unschedulable": None}})

    async def cancelled() -> bool:
        found = condition(await rig.machine(one), "Stalled")
        return found.get("reason") == "DrainCancelled" and "somebody uncordoned it" in found["message"]

    await rig.until(cancelled)
    await asyncio.sleep(2 * rig.probe_seconds)
    after = await rig.node(one) or {}
    assert not after["spec"].get("unschedulable"), "it is not cordoned again"
    assert not [taint for taint in after["spec"].get("taints") or [] if taint["key"] == TAINT], "it serves with what it has"
    assert "kok.dev/to-migrate" not in (await rig.business.get(POD.ref(pod, "default")) or {})["metadata"]["labels"]
    grants = (await rig.meta.list(kinds.GRANT, namespace=rig.namespace)).items
    assert [grant["spec"].get("outcome") for grant in grants] == ["Cancelled"]
    await rig.business.delete(kinds.Kind("policy/v1", "PodDisruptionBudget").ref(pod, "default"))
    await rig.business.delete(POD.ref(pod, "default"))
    await rig.business.patch_json(node, {"metadata": {"annotations": {"kok.dev/cancelled-drains": None}}})
    await rig.until(lambda: has(rig, one, "kubelet", "kubelet-2-r1"))


async def test_should_keep_a_persons_cordon_through_an_update(rig: Rig) -> None:
    (one,) = await live(rig)
    await rig.business.patch_json(kinds.NODE.ref(one["name"]), {"spec": {"unschedulable": True}})
    await rig.pool([one], **explicit("containerd-1-r1", "kubelet-2-r1"))

    async def updated() -> bool:
        node = await rig.node(one) or {}
        claims = node["metadata"]["annotations"].get("kok.dev/cordon-claims")
        return rig.sim(one).installed["kubelet"].name == "kubelet-2-r1" and claims == "somebody"

    await rig.until(updated)
    await asyncio.sleep(1)
    assert (await rig.node(one) or {})["spec"].get("unschedulable") is True


async def test_should_do_what_the_how_to_says(rig: Rig, tmp_path: Path) -> None:
    """Its file and its patches, word for word, against a real API server; the pool is the reader's own."""
    hosts = await live(rig, 2)
    (tmp_path / "disk-watch.yaml").write_text(howto.package_text())
    wanted = [{"disk-watch-1.0.0-r1"}, {"disk-watch-1.1.0-r1"}, set()]
    for script, names in zip(howto.commands(), wanted, strict=True):
        await asyncio.to_thread(_run, rig, script, tmp_path)
        assert await rig.is_open(*hosts), "the last line of each script waits until the pool is Ready"
        for host in hosts:
            assert {each.name for each in rig.sim(host).installed.values()} == {*BASE, *names}
    await rig.pool([])

    async def gone() -> bool:
        return not [host for host in hosts if await rig.machine(host)]

    await rig.until(gone)  # also though the package versions that they had are deleted


def _run(rig: Rig, script: str, folder: Path) -> None:
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    kubectl = binaries / "kubectl"
    kubectl.unlink(missing_ok=True)
    kubectl.symlink_to(AssetsFolder().get("kubectl-1.35.4"))
    config = folder / "kubeconfig"
    config.write_text(rig.meta_server.kubeconfig("test-admin", groups=["system:masters"]))
    lines = [line for line in script.replace("-n demo", f"-n {rig.namespace}").splitlines() if not line.startswith("kok describe")]
    path = f"{binaries}:{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(config), "PATH": path}
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)], cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

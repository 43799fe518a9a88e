"""A host leaves in order and only with leave, and can be used again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operators.adapters import sim_ansible
from operators.domain.machine.view import JobPhase
from operators.machine_operator import kinds
from operators.machine_operator.claims import claim_name
from operators.ports.ansible import AnsibleJob, HostOutcome, JobAction
from operators.ports.grants import GrantsPort
from operators.ports.kube import Kind, Subresource
from tests.integration.machine_operator.rig import Rig, condition

pytestmark = pytest.mark.integration
POD = Kind("v1", "Pod")
DANGEROUS = {"patch_json Node", "create_eviction Pod", "delete Node", "delete Machine"}


async def _pod(rig: Rig, name: str, node: str, namespace: str = "default", **labels: str) -> None:
    """A pod that a drain has to move; nobody runs it, so its eviction deletes it at once."""
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "x"}], "terminationGracePeriodSeconds": 0}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name, **labels}}
    await rig.business.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


async def _running(rig: Rig, name: str, namespace: str = "default") -> None:
    await rig.business.patch_json(POD.ref(name, namespace), {"status": {"phase": "Running"}}, subresource=Subresource.Status)


async def _gone(rig: Rig, host: dict[str, Any]) -> bool:
    claim = await rig.meta.get(kinds.HOST_CLAIM.ref(claim_name(host["address"], 22)))
    return await rig.node(host) is None and not await rig.machine(host) and claim is None


def _writes(rig: Rig, since: int) -> list[str]:
    return [f"{write.verb} {write.ref.kind}" for write in rig.business_record.writes[since:]]


async def test_should_drain_clean_and_give_back_a_host_that_left_its_pool(rig: Rig) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two])
    await rig.start()
    await rig.until(lambda: rig.is_open(one, two))
    await _pod(rig, f"web-{rig.tag}", two["name"])
    rig.centre.says_yes = False
    since = len(rig.business_record.writes)
    await rig.pool([one])
    message = await rig.until(lambda: _message(rig, two, "waits for leave"))
    assert "Drain" in message
    await asyncio.sleep(1.5)
    assert not DANGEROUS & set(_writes(rig, since)), "without leave nothing dangerous happens"
    assert rig.sim(two).owner is not None
    rig.centre.says_yes = True
    await rig.until(lambda: _gone(rig, two))
    acts = [act for act in dict.fromkeys(_writes(rig, since)) if act in DANGEROUS or act == "patch_json Pod"]
    assert acts == ["patch_json Node", "patch_json Pod", "create_eviction Pod", "delete Node", "delete Machine"]
    assert rig.ansible.jobs[-1].action is JobAction.Clean
    assert (rig.sim(two).owner, rig.sim(two).installed) == (None, {})
    assert rig.centre.granted == [f"Drain {two['name']}", f"DeleteMachine {two['name']}"]
    grants = (await rig.meta.list(kinds.GRANT, namespace=rig.namespace)).items
    assert {grant["spec"].get("outcome") for grant in grants} == {"Succeeded"}
    assert await rig.is_open(one)
    await rig.pool([one, two])
    await rig.until(lambda: rig.is_open(one, two))


@pytest.mark.parametrize("second_look", [True, False])
async def test_should_clean_no_host_whose_leave_was_withdrawn_while_it_waited(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, second_look: bool
) -> None:
    """The control: without the look when its turn has come, a host is wiped whose leave is somebody else's by then."""
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two])
    assembly = await rig.start()
    await rig.until(lambda: rig.is_open(one, two))
    rig.ansible.slot.clear()
    await rig.pool([])

    async def waits() -> bool:
        cleaned = [work.target.name for job in rig.ansible.queued if job.action is JobAction.Clean for work in job.hosts]
        return {one["name"], two["name"]} == set(cleaned)

    await rig.until(waits)
    rig.centre.says_yes = False
    await _withdraw(rig, one)
    if not second_look:
        monkeypatch.setattr(sim_ansible, "with_leave", _unseen)
    rig.ansible.slot.set()
    await rig.until(lambda: _is_clean(rig, two))
    if not second_look:
        await rig.until(lambda: _is_clean(rig, one))
        return
    await rig.until(lambda: _message(rig, one, "waits for leave"))
    state = assembly.jobs.state(one["name"])
    assert state is not None
    assert (state.phase, state.tries) == (JobPhase.Withheld, 0)
    assert "its leave was withdrawn or ran out while it waited" in state.message
    assert rig.sim(one).owner is not None
    assert "kubelet" in rig.sim(one).installed
    rig.centre.says_yes = True
    await rig.until(lambda: _gone(rig, one))


async def _withdraw(rig: Rig, host: dict[str, Any]) -> None:
    """As a person, or as an earlier process of ours, may do."""
    for grant in (await rig.meta.list(kinds.GRANT, namespace=rig.namespace)).items:
        if (grant["spec"]["operation"], grant["spec"]["target"]["name"]) == ("DeleteMachine", host["name"]):
            await rig.meta.patch_json(kinds.GRANT.ref(grant["metadata"]["name"], rig.namespace), {"spec": {"outcome": "Cancelled"}})


async def _is_clean(rig: Rig, host: dict[str, Any]) -> bool:
    return rig.sim(host).owner is None


async def _unseen(job: AnsibleJob, grants: GrantsPort) -> tuple[AnsibleJob, dict[str, HostOutcome]]:
    """No second look."""
    return job, {}


async def _message(rig: Rig, host: dict[str, Any], part: str) -> str:
    message = str((await rig.machine(host)).get("status", {}).get("message", ""))
    return message if part in message else ""


async def test_should_show_and_respect_a_disruption_budget_and_go_on_when_it_allows(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    name = f"db-{rig.tag}"
    await _pod(rig, name, one["name"])
    await _running(rig, name)
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "default"}}
    await rig.business.create({**budget, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}}})
    rig.drain_seconds = 900
    await rig.pool([])
    await rig.until(lambda: _message(rig, one, "disruption budget"))
    assert await rig.business.get(POD.ref(name, "default")) is not None
    await rig.business.delete(Kind("policy/v1", "PodDisruptionBudget").ref(name, "default"))
    await rig.until(lambda: _gone(rig, one))


@pytest.mark.parametrize(("namespace", "goes"), [("kube-system", True), ("default", False)])
async def test_should_let_the_last_node_go_with_what_kok_put_there_and_with_nothing_else(rig: Rig, namespace: str, goes: bool) -> None:
    """CoreDNS has a disruption budget, and on the only node no place to go to; a pod that only carries the label is somebody's."""
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    for other in (await rig.business.list(kinds.NODE)).items:
        if other["metadata"]["name"] != one["name"]:
            await rig.business.delete(kinds.NODE.ref(other["metadata"]["name"]))
    name = f"dns-{rig.tag}"
    await _pod(rig, name, one["name"], namespace, **{"app.kubernetes.io/managed-by": "kok"})
    await _running(rig, name, namespace)
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": namespace}}
    await rig.business.create({**budget, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}}})
    await rig.pool([])
    if goes:
        await rig.until(lambda: _gone(rig, one))
    else:
        await rig.until(lambda: _message(rig, one, "disruption budget"))
        await rig.business.delete(Kind("policy/v1", "PodDisruptionBudget").ref(name, namespace))
        await rig.until(lambda: _gone(rig, one))


async def test_should_clean_every_host_before_a_deleted_pool_goes(rig: Rig) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two])
    await rig.start()
    await rig.until(lambda: rig.is_open(one, two))
    await rig.meta.delete(kinds.MACHINE_POOL.ref("workers", rig.namespace))

    async def all_gone() -> bool:
        pool = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace))
        release = await rig.meta.get(kinds.POOL_RELEASE.ref("workers", rig.namespace))
        return pool is None and release is None and await _gone(rig, one) and await _gone(rig, two)

    await rig.until(all_gone)
    assert all(host.owner is None for host in rig.fleet.hosts.values())


async def test_should_wait_for_an_unreachable_host_until_a_person_gives_it_up(rig: Rig) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two])
    await rig.start()
    await rig.until(lambda: rig.is_open(one, two))
    del rig.fleet.hosts[two["address"], 22]
    await rig.pool([one])
    message = await rig.until(lambda: _message(rig, two, "cannot be cleaned"))
    assert f"kok.dev/abandon-host={two['name']}" in message
    machine = await rig.machine(two)
    assert condition(machine, "Stalled")["reason"] == "HostRefused"
    assert await rig.node(two) is not None, "its Node stays as long as it may run pods"
    annotation = {"metadata": {"annotations": {"kok.dev/abandon-host": two["name"]}}}
    await rig.meta.patch_json(kinds.MACHINE_POOL.ref("workers", rig.namespace), annotation)
    await rig.until(lambda: _gone(rig, two))


async def test_should_clean_and_keep_a_machine_that_a_business_admin_decommissions(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    ref = kinds.MACHINE_KIND.ref(one["name"])
    await rig.business.patch_json(ref, {"spec": {"desiredState": "Decommissioned"}})
    await rig.until(lambda: _message(rig, one, "is decommissioned and clean"))
    assert await rig.node(one) is None
    assert rig.sim(one).owner is None
    await rig.business.patch_json(ref, {"spec": {"desiredState": "InService"}})
    await rig.until(lambda: rig.is_open(one))


async def test_should_drain_for_maintenance_and_open_again_afterwards(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    ref = kinds.MACHINE_KIND.ref(one["name"])
    await rig.business.patch_json(ref, {"spec": {"desiredState": "Maintenance"}})
    await rig.until(lambda: _message(rig, one, "in maintenance"))
    node = await rig.node(one) or {}
    assert node["spec"]["unschedulable"] is True
    assert node["metadata"]["annotations"]["kok.dev/cordon-claims"] == "maintenance"
    await rig.business.patch_json(ref, {"spec": {"desiredState": "InService"}})

    async def in_service() -> bool:
        found = await rig.node(one) or {}
        return not found["spec"].get("unschedulable") and await rig.is_open(one)

    await rig.until(in_service)


async def test_should_bring_back_a_machine_deleted_by_hand_and_remove_one_made_by_hand(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    uid = (await rig.machine(one))["metadata"]["uid"]
    await rig.business.delete(kinds.MACHINE_KIND.ref(one["name"]))

    async def back() -> bool:
        machine = await rig.machine(one)
        return bool(machine) and machine["metadata"]["uid"] != uid and await rig.is_open(one)

    await rig.until(back)
    assert len(rig.ansible.jobs) == 1, "the host was right all the time"
    stray = {"name": rig.name("stray"), "address": "10.9.9.9"}
    head = {"apiVersion": "kok.dev/v1alpha1", "kind": "Machine", "metadata": {"name": stray["name"]}}
    await rig.business.create({**head, "spec": {"pool": "workers"}})

    async def removed() -> bool:
        return not await rig.machine(stray)

    await rig.until(removed)
    assert rig.centre.granted[-1] == f"DeleteMachine {stray['name']}"

"""Readiness gates on a real API server: who may report, what counts, what closes and what opens. The admission rules are those of a plane."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.domain.machine.reports import CONDITIONS_NAMESPACE
from operators.machine_operator import gatekeeping, kinds
from operators.ports.kube import Kind, KubeError, NotFound, Subresource
from tests.integration.api_server import ApiServer
from tests.integration.machine_operator.conftest import bind_reports
from tests.integration.machine_operator.rig import Rig, condition

pytestmark = pytest.mark.integration
SAMPLE = Path(__file__).parents[3] / "manifests" / "samples" / "reporter"
AGENT = "system:serviceaccount:logging:log-agent-reporter"
POD = Kind("v1", "Pod")


def gate(reporter: str = "agent", **more: Any) -> dict[str, Any]:
    return {"type": "LogAgentReady", "reporter": reporter, "maxAgeSeconds": 600, **more}


class Reporter:
    """An identity that reports, in whatever name it says."""

    def __init__(self, server: ApiServer, user: str = "agent") -> None:
        self.user = user
        credentials = kubeconfig_credentials(server.kubeconfig(user, groups=["system:masters"]))
        self.kube = KubeClient(credentials, field_manager=user)

    async def tell(self, host: dict[str, Any], status: str, *, boot: str = "", name: str = "", reporter: str = "") -> None:
        """Write a report; `boot` empty: it names none."""
        data = {
            "type": "LogAgentReady",
            "status": status,
            "reason": "Told",
            "message": f"it is {status}",
            "reporter": reporter or self.user,
        }
        metadata = {
            "name": name or f"{self.user}.{host['name']}",
            "namespace": CONDITIONS_NAMESPACE,
            "labels": {"kok.dev/machine": host["name"]},
        }
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data | ({"bootID": boot} if boot else {})}
        await self.kube.apply(manifest)

    async def renew(self) -> None:
        """Say that all of it is still so."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.user, "namespace": CONDITIONS_NAMESPACE}}
        await self.kube.apply({**head, "spec": {"holderIdentity": self.user, "renewTime": now}})

    async def forget(self) -> None:
        """Nothing of it is left."""
        for found in (await self.kube.list(kinds.CONFIG_MAP, namespace=CONDITIONS_NAMESPACE)).items:
            if (found.get("data") or {}).get("reporter") == self.user:
                await self.kube.delete(kinds.CONFIG_MAP.ref(found["metadata"]["name"], CONDITIONS_NAMESPACE))
        await self.kube.delete(kinds.LEASE.ref(self.user, CONDITIONS_NAMESPACE))


@pytest.fixture
async def agent(rig: Rig) -> AsyncIterator[Reporter]:
    reporter = Reporter(rig.business_server)
    await reporter.renew()
    yield reporter
    await reporter.forget()
    await reporter.kube.close()


async def gate_of(rig: Rig, host: dict[str, Any], reason: str, *words: str) -> dict[str, Any]:
    """The gate's condition on the Machine once it has that reason, and the Node shows the same."""
    shown, mirrored = condition(await rig.machine(host), "LogAgentReady"), condition(await rig.node(host) or {}, "LogAgentReady")
    same = [shown.get(field) for field in ("status", "reason", "message")] == [
        mirrored.get(field) for field in ("status", "reason", "message")
    ]
    return shown if shown.get("reason") == reason and same and all(word in shown["message"] for word in words) else {}


async def is_closed(rig: Rig, host: dict[str, Any]) -> bool:
    node = await rig.node(host) or {}
    return any(taint["key"] == "kok.dev/not-ready" for taint in (node.get("spec") or {}).get("taints") or [])


async def is_cordoned(rig: Rig, host: dict[str, Any]) -> bool:
    node = await rig.node(host) or {}
    return bool((node.get("spec") or {}).get("unschedulable"))


async def outcomes(rig: Rig) -> list[str]:
    grants = (await rig.meta.list(kinds.GRANT, namespace=rig.namespace)).items
    return sorted(f"{g['spec']['operation']} {g['spec'].get('outcome', 'held')}" for g in grants)


async def test_should_open_only_on_a_report_of_this_boot_and_stay_closed_over_restarts(rig: Rig, agent: Reporter) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one], readinessGates=[gate()])
    await rig.start()
    await rig.until(lambda: gate_of(rig, one, "NotReported", "has not been reported by agent"))
    assert await is_closed(rig, one)
    await agent.tell(one, "True", boot="another boot")
    await rig.until(lambda: gate_of(rig, one, "BeforeBoot", f"agent.{one['name']}"))
    await rig.stop()
    await rig.start()
    await asyncio.sleep(1.5)
    assert await is_closed(rig, one), "an operator that starts opens nothing"
    await agent.tell(one, "True", boot=rig.sim(one).boot_id)
    await rig.until(lambda: rig.is_open(one))
    await rig.until(lambda: gate_of(rig, one, "Satisfied", "it is True"))
    rig.fleet.reboot(one["address"])
    await rig.ansible.kubelets[one["name"]].report(ready=True)
    await rig.until(lambda: is_closed(rig, one))
    await rig.until(lambda: gate_of(rig, one, "BeforeBoot"))
    await asyncio.sleep(2 * rig.probe_seconds)
    assert await is_closed(rig, one), "the report of the boot before does not count, however often the host is looked at"
    await agent.tell(one, "True", boot=rig.sim(one).boot_id)
    await rig.until(lambda: rig.is_open(one))
    writes = len(rig.business_record.written())
    await asyncio.sleep(3 * rig.probe_seconds)
    assert rig.business_record.written()[writes:] == [], "what holds is not written again"


async def test_should_believe_nobody_but_the_registered_reporter(rig: Rig, agent: Reporter) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one], readinessGates=[gate()])
    await rig.start()
    await rig.until(lambda: gate_of(rig, one, "NotReported"))
    other = Reporter(rig.business_server, "other")
    boot = rig.sim(one).boot_id
    with pytest.raises(KubeError, match=r"data\.reporter must be who writes it: other"):
        await other.tell(one, "True", boot=boot, reporter="agent")
    await other.tell(one, "True", boot=boot)
    await other.renew()
    await rig.until(lambda: gate_of(rig, one, "OtherReporter", "other reports it instead"))
    await asyncio.sleep(1)
    assert await is_closed(rig, one)
    await other.forget()
    await other.kube.close()


@pytest.mark.parametrize(
    ("rule", "patch", "words"),
    [
        (kinds.POLICY_BINDING, None, "ValidatingAdmissionPolicyBinding kok-conditions, which binds reports to their writers, is not in"),
        (kinds.POLICY, {"spec": {"validations": [{"expression": "true"}]}}, "ValidatingAdmissionPolicy kok-conditions, which binds"),
    ],
)
async def test_should_open_nothing_while_the_admission_rules_are_gone_or_changed(
    rig: Rig, agent: Reporter, monkeypatch: pytest.MonkeyPatch, rule: Kind, patch: Any, words: str
) -> None:
    """With the positive control: a forged report that the API server then accepts would open the node if nobody looked at the rules."""
    one = rig.host("m1", 1)
    forger = Reporter(rig.business_server, "forger")
    try:
        if patch is None:
            await rig.business.delete(rule.ref("kok-conditions"))
        else:
            await rig.business.patch_json(rule.ref("kok-conditions"), patch)
        await rig.pool([one], readinessGates=[gate()])
        await rig.start()
        await rig.until(lambda: gate_of(rig, one, "ReportsNotProtected", words))
        await rig.until(lambda: _forged(forger, rig, one))
        await asyncio.sleep(2)
        assert await is_closed(rig, one)
        monkeypatch.setattr(gatekeeping, "rules_problem", lambda wanted, found: "")
        await rig.until(lambda: rig.is_open(one))
    finally:
        monkeypatch.undo()
        bind_reports(rig.business_server)
        await asyncio.sleep(1.5)  # the API server reads its rules anew
        await forger.kube.close()


async def _forged(forger: Reporter, rig: Rig, host: dict[str, Any]) -> bool:
    """The API server needs a moment to let go of its rules."""
    try:
        await forger.tell(host, "True", boot=rig.sim(host).boot_id, name=f"agent.{host['name']}", reporter="agent")
    except KubeError:
        return False
    return True


async def test_should_leave_open_what_is_open_while_the_rules_are_gone(rig: Rig, agent: Reporter) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two], readinessGates=[gate()])
    for host in (one, two):
        await agent.tell(host, "True", boot=rig.sim(host).boot_id)
    await rig.start()
    await rig.until(lambda: rig.is_open(one, two))
    try:
        await rig.business.delete(kinds.POLICY.ref("kok-conditions-freshness"))
        await rig.until(lambda: gate_of(rig, one, "ReportsNotProtected"))
        await asyncio.sleep(2)
        assert not await is_cordoned(rig, one)
        assert rig.centre.granted == []
    finally:
        bind_reports(rig.business_server)
    await rig.until(lambda: rig.is_open(one, two))


async def test_should_cordon_with_leave_what_lost_its_gate_but_never_the_whole_pool(rig: Rig, agent: Reporter) -> None:
    hosts = [rig.host(f"m{number}", number) for number in range(1, 4)]
    await rig.pool(hosts)
    await rig.start()
    await rig.until(lambda: rig.is_open(*hosts))
    rig.centre.says_yes = False
    await rig.pool(hosts, readinessGates=[gate()])
    pool = await rig.until(lambda: _would_close(rig, 3))
    assert condition(pool, "GatesHold")["message"].startswith(
        "gate LogAgentReady does not hold on 3 of 3 machines: 0 take no new pods, 3 still do"
    )
    message = await rig.until(lambda: _message(rig, hosts[0], "waits for leave"))
    assert "is open, but gate LogAgentReady has not been reported by agent" in message
    assert not any([await is_cordoned(rig, host) for host in hosts])
    rig.centre.says_yes = True  # to everything, as a budget without limits would
    await rig.until(lambda: _cordoned(rig, hosts, 2))
    await rig.until(lambda: _would_close(rig, 1))
    await asyncio.sleep(2 * rig.probe_seconds)
    assert await _cordoned(rig, hosts, 2), "one stays open, whatever the budget says"
    assert (await outcomes(rig)).count("Cordon held") == 2, "held for as long as it lasts, so that it counts"
    for host in hosts:
        await agent.tell(host, "True", boot=rig.sim(host).boot_id)
    await rig.until(lambda: rig.is_open(*hosts))
    await rig.until(lambda: _cordoned(rig, hosts, 0))
    await rig.until(lambda: _settled(rig))
    assert (await _would_close(rig, 0))["status"]["gates"] == [{"type": "LogAgentReady", "holds": 3, "closed": 0, "wouldClose": 0}]


async def _settled(rig: Rig) -> bool:
    ended = await outcomes(rig)
    return ended.count("Cordon Succeeded") == 2 and "Cordon held" not in ended


async def _message(rig: Rig, host: dict[str, Any], part: str) -> str:
    message = str((await rig.machine(host)).get("status", {}).get("message", ""))
    return message if part in message else ""


async def _would_close(rig: Rig, count: int) -> dict[str, Any]:
    pool = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace)) or {}
    counts = (pool.get("status") or {}).get("gates") or [{}]
    return pool if counts[0].get("wouldClose") == count else {}


async def _cordoned(rig: Rig, hosts: list[dict[str, Any]], count: int) -> bool:
    return sum([await is_cordoned(rig, host) for host in hosts]) == count


async def test_should_respect_a_person_who_uncordons_and_one_who_cordoned(rig: Rig, agent: Reporter) -> None:
    one, two, three = hosts = [rig.host(f"m{number}", number) for number in range(1, 4)]
    await rig.pool(hosts, readinessGates=[gate()])
    for host in hosts:
        await agent.tell(host, "True", boot=rig.sim(host).boot_id)
    await rig.start()
    await rig.until(lambda: rig.is_open(*hosts))
    await rig.business.patch_json(kinds.NODE.ref(two["name"]), {"spec": {"unschedulable": True}})
    for host in (one, two):
        await agent.tell(host, "False", boot=rig.sim(host).boot_id)
    await rig.until(lambda: is_cordoned(rig, one))
    await rig.until(lambda: gate_of(rig, two, "NotSatisfied"))
    assert rig.centre.granted == [f"Cordon {one['name']}"], "who is cordoned by a person needs nothing"
    await rig.business.patch_json(kinds.NODE.ref(one["name"]), {"spec": {"unschedulable": None}})
    await rig.until(lambda: _message(rig, one, "is open because a person uncordoned it"))
    await asyncio.sleep(1)
    assert not await is_cordoned(rig, one)
    for host in (one, two):
        await agent.tell(host, "True", boot=rig.sim(host).boot_id)
    await rig.until(lambda: rig.is_open(one, three))
    await rig.until(lambda: gate_of(rig, two, "Satisfied"))
    assert await is_cordoned(rig, two), "a person's cordon stays"
    assert await outcomes(rig) == ["Cordon Cancelled"]
    await agent.tell(one, "False", boot=rig.sim(one).boot_id)
    await rig.until(lambda: is_cordoned(rig, one))


class Sample:
    """The sample reporter as a process, with the token of its own ServiceAccount."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        server.kubectl("apply", "-f", str(SAMPLE / "rbac.yaml"))
        (folder / "ca.crt").write_text(server.authority.pem)
        (folder / "token").write_text(server.kubectl("-n", "logging", "create", "token", "log-agent-reporter").strip())
        environment = {**os.environ, "SERVICE_ACCOUNT": str(folder), "KUBERNETES_API": server.url, "PERIOD_SECONDS": "0.5"}
        self.process = subprocess.Popen([sys.executable, str(SAMPLE / "reporter.py")], env=environment)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


async def _agent_pod(rig: Rig, host: dict[str, Any], *, ready: bool) -> None:
    """A pod of the log agent's DaemonSet, as its kubelet would show it."""
    ref = POD.ref(f"log-agent-{host['name']}", "logging")
    metadata = {"name": ref.name, "namespace": "logging", "labels": {"app": "log-agent"}}
    if await rig.business.get(ref) is None:
        spec = {"nodeName": host["name"], "containers": [{"name": "c", "image": "x"}], "terminationGracePeriodSeconds": 0}
        await rig.business.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    conditions = [{"type": "Ready", "status": str(ready)}]
    await rig.business.patch_json(ref, {"status": {"conditions": conditions}}, subresource=Subresource.Status)


async def test_should_work_with_the_sample_reporter_as_its_own_service_account(rig: Rig, tmp_path: Path) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two], readinessGates=[gate(AGENT, maxAgeSeconds=10)])
    await rig.start()
    await rig.until(lambda: gate_of(rig, one, "NotReported", f"has not been reported by {AGENT}"))
    sample = Sample(rig.business_server, tmp_path)
    try:
        await rig.until(lambda: gate_of(rig, one, "NotSatisfied", "no pod of the log agent is ready here"))
        for host in (one, two):
            await _agent_pod(rig, host, ready=True)
        await rig.until(lambda: rig.is_open(one, two))
        await _agent_pod(rig, one, ready=False)
        await rig.until(lambda: is_cordoned(rig, one))
        assert rig.centre.granted == [f"Cordon {one['name']}"]
        await _agent_pod(rig, one, ready=True)
        await rig.until(lambda: rig.is_open(one, two))
        assert sample.process.poll() is None
        sample.process.kill()
        await rig.until(lambda: gate_of(rig, two, "Stale", "renewed no Lease"))
        await rig.until(lambda: _cordoned(rig, [one, two], 1))
    finally:
        sample.end()
        for host in (one, two):
            await _gone(rig, f"log-agent-{host['name']}")


async def _gone(rig: Rig, pod: str) -> None:
    try:
        await rig.business.delete(POD.ref(pod, "logging"))
    except NotFound:
        return

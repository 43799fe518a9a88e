"""OperationBudgets on a real API server: what is refused and why, the shipped ones, what is read of the world, what is shown."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.adapters.grants_kube import KubeGrants, manifest_of
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.api.base import API_VERSION
from operators.api.budgets import OperationBudget
from operators.api.risk import Operation, OperationGrant, Outcome, Purpose, Target
from operators.domain.risk.decide import Ask, Granted, ask_of
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import EntryKey
from operators.domain.risk.scopes import ClusterId
from operators.ports.grants import GrantRequest
from operators.ports.kube import Invalid, Kind, Manifest, Subresource
from operators.services.ledger import ledger_ref
from operators.services.risk_facts import BUDGET, RiskFacts
from tests.integration.api_server import ApiServer
from tests.integration.risk.risk_centres import Centre, denied, granted, request
from tests.unit.operators.domain.risk.builders import budget

pytestmark = pytest.mark.integration
SHIPPED = Path(__file__).parents[3] / "manifests" / "operators" / "base" / "budgets.yaml"
SAMPLE = Path(__file__).parents[3] / "manifests" / "samples" / "budget.yaml"
NODE, CLUSTER = Kind("v1", "Node"), Kind(API_VERSION, "Cluster")
FREEZE = {"mode": "ForcedOpen", "reason": "an incident", "until": "2030-01-01T00:00:00Z"}
ROWS: tuple[tuple[str, Any, str, Any], ...] = (
    ("operations", [], "should have at least 1 items", ["Drain"]),
    ("operations", ["FormatDisk"], "Unsupported value", ["Reboot"]),
    ("operations", ["Drain", "Drain"], "Duplicate value", ["Drain", "Reboot"]),
    ("scope", {"per": "Rack", "clusters": {"all": True}}, "Unsupported value", {"per": "Pool", "clusters": {"all": True}}),
    ("scope", {"per": "Pool"}, "Required value", {"per": "Pool", "clusters": {"names": ["demo/demo"]}}),
    ("scope", {"per": "Pool", "clusters": {}}, "an empty selector selects nothing", {"per": "Pool", "clusters": {"all": True}}),
    (
        "scope",
        {"per": "Pool", "clusters": {"names": []}},
        "an empty selector selects nothing",
        {"per": "Pool", "clusters": {"names": ["a/b"]}},
    ),
    (
        "scope",
        {"per": "Pool", "clusters": {"all": True, "names": ["a/b"]}},
        "set exactly one of",
        {"per": "Pool", "clusters": {"all": True}},
    ),
    ("scope", {"per": "Pool", "clusters": {"names": ["demo"]}}, "should match", {"per": "Pool", "clusters": {"names": ["demo/demo"]}}),
    ("rate", {"count": -1, "windowSeconds": 60}, "greater than or equal to 0", {"count": 0, "windowSeconds": 60}),
    ("rate", {"count": 1, "windowSeconds": 59}, "greater than or equal to 60", {"count": 1, "windowSeconds": 60}),
    ("rate", {"count": 1, "windowSeconds": 604801}, "less than or equal to 604800", {"count": 1, "windowSeconds": 604800}),
    ("rate", {"count": 1}, "Required value", {"count": 1, "windowSeconds": 60}),
    ("concurrency", {}, "set count, percent or both", {"percent": 0}),
    ("concurrency", {"count": 3, "floor": 1}, "floor belongs to percent", {"count": 3, "percent": 10, "floor": 1}),
    ("concurrency", {"count": 1, "percent": 10, "floor": 2}, "floor is above count", {"count": 2, "percent": 10, "floor": 2}),
    ("concurrency", {"percent": 101}, "less than or equal to 100", {"percent": 100}),
    ("onExceed", "Panic", "Unsupported value", "TripBreaker"),
    ("hold", {"mode": "ForcedOpen", "until": "2030-01-01T00:00:00Z"}, "Required value", FREEZE),
    ("hold", {"mode": "Disabled", "reason": "a test"}, "Required value", FREEZE | {"mode": "Disabled"}),
    ("hold", FREEZE | {"until": "tomorrow"}, "date-time", FREEZE),
    ("hold", FREEZE | {"reason": ""}, "at least 1 chars", FREEZE),
)


@pytest.fixture
async def trial(crds: None, api_server: ApiServer) -> AsyncIterator[KubeClient]:
    """Writes that are judged and not stored."""
    client = KubeClient(kubeconfig_credentials(api_server.admin_kubeconfig.read_text()), field_manager="test", dry_run=True)
    yield client
    await client.close()


async def test_should_refuse_what_limits_nothing_or_nobody_and_take_its_neighbour(trial: KubeClient) -> None:
    (sample,) = yaml.safe_load_all(SAMPLE.read_text())
    await trial.create(sample)
    for field, bad, words, good in ROWS:
        wrong = deepcopy(sample)
        wrong["spec"][field] = bad
        with pytest.raises(Invalid, match=f"spec.{field}") as refusal:
            await trial.create(wrong)
        assert words in refusal.value.message, (field, bad, refusal.value.message)
        wrong["spec"][field] = good
        await trial.create(wrong)
    unlimited = deepcopy(sample)
    del unlimited["spec"]["rate"], unlimited["spec"]["concurrency"]
    with pytest.raises(Invalid, match="a budget without either limits nothing"):
        await trial.create(unlimited)


async def test_should_limit_every_operation_as_shipped(trial: KubeClient) -> None:
    shipped = [OperationBudget.parse(await trial.create(each)) for each in yaml.safe_load_all(SHIPPED.read_text())]
    for operation in Operation:
        about = [each.spec for each in shipped if operation in each.spec.operations and each.spec.scope.clusters.all]
        assert any(spec.rate for spec in about), f"{operation} has no rate"
        assert operation is Operation.UpgradePlane or any(spec.concurrency for spec in about), f"{operation} has no concurrency"


@pytest.fixture
async def world(centre: Centre, api_server: ApiServer) -> AsyncIterator[Centre]:
    """Cluster `demo` with a pool of two and a claim on a third host, Nodes of all in the same API server, and a risk centre that really looks."""
    kube, namespace = centre.kube, centre.namespace
    spec = {"packageVersion": "kubernetes-1.35.4-r1", "endpoint": {"type": "ClusterIP"}, "machineAccess": {"sshKeySecretName": "ssh"}}
    metadata = {"name": "demo", "namespace": namespace, "labels": {"env": "prod"}}
    await kube.create({"apiVersion": API_VERSION, "kind": "Cluster", "metadata": metadata, "spec": spec})
    kubeconfig = base64.b64encode(api_server.admin_kubeconfig.read_bytes()).decode()
    secret = {"name": "demo-operator-kubeconfig", "namespace": namespace}
    await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {"kubeconfig": kubeconfig}})
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxP7QkzF3Nq2m0F9k0n8mV1y0q8Yl4nXo8tQm0cJd1e"
    hosts = [{"name": name, "address": f"{name}.example", "hostKeys": [key], "zone": zone} for name, zone in _names(namespace)]
    pool: Manifest = {"clusterName": "demo", "hosts": hosts[:2], "packages": {"follow": "Cluster"}}
    await kube.create(
        {"apiVersion": API_VERSION, "kind": "MachinePool", "metadata": {"name": "workers", "namespace": namespace}, "spec": pool}
    )
    claim = {
        "address": "x", "port": 22, "namespace": namespace, "cluster": "demo", "pool": "workers", "host": hosts[2]["name"],
        "poolUid": "u", "claimedAt": "2026-03-01T12:00:00Z", "connection": hosts[2],
    }  # fmt: skip
    labels = {"kok.dev/cluster": "demo"}
    await kube.create({"apiVersion": API_VERSION, "kind": "HostClaim", "metadata": {"name": namespace, "labels": labels}, "spec": claim})
    for name, _ in _names(namespace):
        await kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        await _ready(kube, name, "True")
    real = replace(centre, facts=RiskFacts(kube, centre.connector))
    yield real
    for name, _ in _names(namespace):
        await kube.delete(NODE.ref(name))
    await kube.delete(Kind(API_VERSION, "HostClaim").ref(namespace))
    for each in (await kube.list(BUDGET)).items:
        if each["metadata"]["name"].endswith(namespace):
            await kube.delete(BUDGET.ref(each["metadata"]["name"]))
    await centre.connector.close()


def _names(namespace: str) -> list[tuple[str, str]]:
    return [(f"{letter}-{namespace}", zone) for letter, zone in (("a", "z1"), ("b", "z1"), ("c", "z2"))]


async def _ready(kube: Any, name: str, status: str) -> None:
    condition = {"status": {"conditions": [{"type": "Ready", "status": status, "reason": "Test", "message": ""}]}}
    await kube.patch_json(NODE.ref(name), condition, subresource=Subresource.Status)
    await kube.patch_json(NODE.ref(name), {"spec": {"taints": None}})


def wanted(world: Centre, letter: str, **changes: Any) -> GrantRequest:
    zone = dict(_names(world.namespace)).get(f"{letter}-{world.namespace}", "")
    target = Target(kind="Machine", name=f"{letter}-{world.namespace}", cluster="demo", pool="workers", zone=zone)
    return request(world.namespace, letter, target=target, **changes)


async def limit(world: Centre, name: str, per: str = "Pool", **spec: Any) -> str:
    made = budget(f"{name}.{world.namespace}", per, clusters={"names": [f"{world.namespace}/demo"]}, **spec)
    await world.kube.create(made.manifest())
    return made.metadata.name


def _ask(world: Centre, letter: str) -> Ask:
    manifest = manifest_of(wanted(world, letter), 0)
    manifest["metadata"]["uid"] = "uid"
    return ask_of(OperationGrant.parse(manifest))


async def test_should_see_hosts_of_pools_and_claims_and_which_are_out_of_service(world: Centre) -> None:
    await limit(world, "pools", concurrency={"percent": 50})
    await world.kube.patch_json(NODE.ref(f"b-{world.namespace}"), {"spec": {"unschedulable": True}})
    await _ready(world.kube, f"c-{world.namespace}", "Unknown")
    facts = await _facts(world, "a")
    seen = {(each.target.name[0], each.target.pool, each.target.zone, each.sick) for each in facts.members}
    assert seen == {
        ("a", "workers", "z1", ""),
        ("b", "workers", "z1", "its Node is cordoned"),
        ("c", "workers", "z2", "its Node's Ready condition is Unknown"),
    }
    assert facts.labels == {"env": "prod"}


async def _facts(world: Centre, letter: str) -> Facts:
    return await RiskFacts(world.kube, world.connector).read(_ask(world, letter))


async def test_should_count_what_is_out_of_service_beside_what_is_granted(world: Centre, grants: KubeGrants) -> None:
    name = await limit(world, "pools", concurrency={"count": 1})
    await world.kube.patch_json(NODE.ref(f"b-{world.namespace}"), {"spec": {"unschedulable": True}})
    answer = await denied(grants, world, wanted(world, "a"))
    assert f"OperationBudget {name} says no by its concurrency in pool {world.namespace}/workers: 1 of at most 1 targets" in answer.message
    assert f"Machine b-{world.namespace}: its Node is cordoned, free when it is in order" in answer.message
    await granted(grants, world, wanted(world, "b"))  # its own target counts once


async def test_should_give_a_freed_slot_only_to_who_saw_the_target_after_it(world: Centre, grants: KubeGrants) -> None:
    """The holder cordons, reports, and leaves its node cordoned while another request is being weighed: what was seen before is looked at again."""
    await limit(world, "pools", concurrency={"count": 1})
    held = await granted(grants, world, wanted(world, "a"))

    class Late(RiskFacts):
        rounds = 0

        async def read(self, ask: Ask) -> Facts:
            facts = await super().read(ask)
            Late.rounds += 1
            if Late.rounds == 1:
                await world.kube.patch_json(NODE.ref(f"a-{world.namespace}"), {"spec": {"unschedulable": True}})
                await grants.settle(held, Outcome.Succeeded)
                await world.until_quiet(held.op_id)
            return facts

    other = replace(world, facts=Late(world.kube, world.connector))
    verdict = await other.ledger.reserve(_ask(world, "b"))
    assert Late.rounds == 2
    assert "its Node is cordoned" in verdict.message


async def test_should_freeze_the_denominator_and_show_what_is_used(world: Centre, grants: KubeGrants) -> None:
    name = await limit(world, "pools", concurrency={"percent": 34}, rate={"count": 2, "windowSeconds": 600})
    held = await granted(grants, world, wanted(world, "a"))
    (window,) = [each for each in (await world.stored()).spec.windows if each.budget == name]
    assert (window.scope, window.targets) == (f"pool {world.namespace}/workers", 3)
    await world.show_budgets()
    status = (await world.kube.get(BUDGET.ref(name)) or {})["status"]
    assert (status["used"], status["free"], status["breaker"]) == ("1 granted, 1 at once", "1/10m, 0 at once", "Closed")
    assert held.op_id in status["scopes"][0]["holders"][0]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
    before = (await world.kube.get(BUDGET.ref(name)) or {})["metadata"]["resourceVersion"]
    world.clock.ahead += 60
    await world.show_budgets()
    assert (await world.kube.get(BUDGET.ref(name)) or {})["metadata"]["resourceVersion"] == before, "nothing changed, so nothing is written"


async def test_should_say_when_the_rate_is_free_and_grant_then(world: Centre, grants: KubeGrants) -> None:
    await limit(world, "hour", "Cluster", rate={"count": 1, "windowSeconds": 600})
    held = await granted(grants, world, wanted(world, "a"))
    await grants.settle(held, Outcome.Succeeded)
    answer = await denied(grants, world, wanted(world, "b"))
    assert "1 operations were granted in the last 600 s, 1 may be" in answer.message
    assert "; free at 20" in answer.message
    world.clock.ahead += 605
    await granted(grants, world, wanted(world, "b"))


async def test_should_open_a_breaker_that_survives_a_restart_and_tell_of_it(world: Centre, grants: KubeGrants) -> None:
    """Too much is tried: open, shown and told once; a new process knows it; a rollback passes; a probe closes it."""
    name = await limit(
        world, "trip", "Cluster", rate={"count": 1, "windowSeconds": 60}, onExceed="TripBreaker", reserve={"rollback": {"rate": 1}}
    )
    await world.show_budgets()  # from here on changes are told
    held = await granted(grants, world, wanted(world, "a"))
    await grants.settle(held, Outcome.Succeeded)
    assert "says no by its rate" in (await denied(grants, world, wanted(world, "b"))).message
    world.clock.ahead += 70
    other = replace(world)
    await other.show_budgets()  # who denied died before it told: the next process does
    await replace(world).show_budgets()  # and the one after that finds it told
    assert "says no by its breaker" in (await denied(grants, other, wanted(world, "b", attempt=1))).message
    assert (await world.kube.get(BUDGET.ref(name)) or {})["status"]["breaker"] == "Open"
    events = [
        each
        for each in (await world.kube.list(Kind("events.k8s.io/v1", "Event"), namespace="default")).items
        if each["regarding"]["name"] == name
    ]
    assert [(each["reason"], each["type"]) for each in events] == [("BreakerOpen", "Warning")]
    await granted(grants, other, wanted(world, "c", purpose=Purpose.Rollback))
    world.clock.ahead += 700
    probe = await granted(grants, world, wanted(world, "b", attempt=9))
    await grants.settle(probe, Outcome.Succeeded)
    await world.settle_down()
    await world.show_budgets()
    assert [each.phase.value for each in (await world.stored()).spec.breakers if each.budget == name] == ["Closed"]


async def test_should_deny_whatever_cannot_be_seen(world: Centre) -> None:
    """Each by itself; the positive control is the same request once it can be seen again."""
    name = await limit(world, "pools", concurrency={"count": 2})
    secret = Kind("v1", "Secret").ref("demo-operator-kubeconfig", world.namespace)
    kubeconfig = (await world.kube.get(secret) or {})["data"]["kubeconfig"]
    await world.kube.patch_json(secret, {"data": {"kubeconfig": base64.b64encode(b"nothing").decode()}})
    assert "granted" not in (await world.ledger.reserve(_ask(world, "a"))).message
    await world.kube.patch_json(secret, {"data": None})
    assert "there is no way into" in (await world.ledger.reserve(_ask(world, "a"))).message
    await world.kube.patch_json(secret, {"data": {"kubeconfig": kubeconfig}})

    class Newer(RiskFacts):
        async def budgets(self) -> tuple[OperationBudget, ...]:
            return (OperationBudget.parse({"kind": "OperationBudget", "metadata": {"name": name}, "spec": {"operations": ["FormatDisk"]}}),)

    blind = replace(world, facts=Newer(world.kube, world.connector))
    assert f"OperationBudget {name}: spec.operations" in (await blind.ledger.reserve(_ask(world, "a"))).message
    nowhere = replace(_ask(world, "a"), target=_ask(world, "a").target.model_copy(update={"cluster": "gone"}))
    assert "Cluster" in (await world.ledger.reserve(nowhere)).message
    assert "granted until" in (await world.ledger.reserve(_ask(world, "a"))).message


async def test_should_count_members_of_an_etcd_one_by_one(world: Centre) -> None:
    await limit(world, "masters", "Cluster", operations=["RestartMaster"])
    labels = {"kok.dev/cluster": "demo", "app.kubernetes.io/component": "etcd"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "etcd", "image": "etcd"}]}}
    spec = {"replicas": 3, "serviceName": "demo-etcd", "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "demo-etcd", "namespace": world.namespace, "labels": labels}
    await world.kube.create({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec})
    for ordinal in (0, 1):
        pod = {"name": f"demo-etcd-{ordinal}", "namespace": world.namespace, "labels": labels}
        await world.kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": template["spec"]})
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await world.kube.patch_json(Kind("v1", "Pod").ref("demo-etcd-0", world.namespace), ready, subresource=Subresource.Status)
    target = Target(kind="Pod", name="demo-etcd-0", cluster="demo")
    ask = replace(_ask(world, "a"), operation="RestartMaster", target=target)
    members = (await RiskFacts(world.kube, world.connector).read(ask)).members
    assert {each.target.name: each.sick for each in members} == {
        "demo-etcd-0": "",
        "demo-etcd-1": "its Ready condition is missing",
        "demo-etcd-2": "it does not exist",
    }
    assert members[0].cluster == ClusterId(world.namespace, "demo")


async def test_should_never_grant_more_than_the_rate_when_eight_risk_centres_race(world: Centre) -> None:
    """All really look, and answer 24 hosts at the same moment; whoever lost to a conflict comes again until the rate says no."""
    await limit(world, "hour", "Cluster", rate={"count": 5, "windowSeconds": 3600})
    centres = [replace(world) for _ in range(8)]
    asks = [replace(_ask(world, "a"), key=EntryKey(world.namespace, f"op-{n}"), target=_target(world, n)) for n in range(24)]
    for _ in range(3):
        verdicts = await asyncio.gather(*(centres[n % 8].ledger.reserve(each) for n, each in enumerate(asks)))
        yes = [each for each in verdicts if isinstance(each, Granted)]
        assert len(yes) <= 5
        if len(yes) == 5:
            break
    assert len(yes) == 5
    spec = (await world.stored()).spec
    assert len(spec.in_flight) == len(spec.log) == 5


def _target(world: Centre, number: int) -> Target:
    return Target(kind="Machine", name=f"x{number}", cluster="demo", pool="workers")


async def test_should_take_a_ledger_of_an_earlier_version(world: Centre, grants: KubeGrants) -> None:
    """Without log, windows, breakers and purposes; what is in flight counts."""
    await limit(world, "pools", concurrency={"count": 1}, rate={"count": 9, "windowSeconds": 600})
    target = {"kind": "Machine", "name": "old", "cluster": "demo", "pool": "workers", "zone": ""}
    times = {"grantedAt": "2026-03-01T12:00:00Z", "expiresAt": "2026-03-01T12:15:00Z"}
    old = {
        "opId": "old",
        "namespace": world.namespace,
        "operation": "Drain",
        "target": target,
        "requester": "machine-operator/demo",
        **times,
    }
    await world.kube.patch_json(ledger_ref(world.namespace), {"spec": {"inFlight": [old], "log": None, "windows": None}})
    assert "Drain of Machine old" in (await denied(grants, world, wanted(world, "a"))).message
    assert await world.ledger.release([EntryKey(world.namespace, "old")])
    world.clock.ahead += 11
    await granted(grants, world, wanted(world, "a"))


async def test_should_follow_labels_of_clusters(world: Centre) -> None:
    name = f"prod.{world.namespace}"
    await world.kube.create(budget(name, "Fleet", clusters={"matchLabels": {"env": "prod", "test": world.namespace}}).manifest())
    assert "no OperationBudget is about" in (await world.ledger.reserve(_ask(world, "a"))).message
    await world.kube.patch_json(CLUSTER.ref("demo", world.namespace), {"metadata": {"labels": {"test": world.namespace}}})
    assert "granted until" in (await world.ledger.reserve(_ask(world, "a"))).message
    assert "in the fleet" in (await world.ledger.reserve(_ask(world, "b"))).message

"""The plane that the templates render works: real etcd, API server, controller-manager and scheduler with exactly these arguments and keys."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import product
from subprocess import CompletedProcess
from typing import Any

import pytest

from operators.domain.plane.desired_bootstrap import EtcdBootstrap, bootstrap_record
from tests.integration.plane.rendered_plane import RenderedPlane, documents
from tests.unit.operators.domain.plane.rendered import a_cluster

pytestmark = pytest.mark.integration
MACHINE = json.dumps(
    {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "Machine",
        "metadata": {"name": "m1"},
        "spec": {"pool": "workers", "packages": ["kubelet-1"]},
    }
)
AS_MACHINE_OPERATOR = "demo-machine-operator-kubeconfig"
AS_ADMIN = "demo-kubeconfig"
AS_OPERATOR = "demo-operator-kubeconfig"
EVERY_ETCD_FLAG = {
    "auto-compaction-mode": "periodic",
    "auto-compaction-retention": "1h",
    "backend-batch-limit": "10000",
    "bootstrap-defrag-threshold-megabytes": "100",
    "compaction-batch-limit": "1000",
    "election-timeout": "1500",
    "enable-pprof": "false",
    "feature-gates": "InitialCorruptCheck=true",
    "heartbeat-interval": "150",
    "log-level": "warn",
    "max-concurrent-streams": "1000",
    "max-request-bytes": "2097152",
    "max-snapshots": "3",
    "max-txn-ops": "256",
    "max-wals": "3",
    "metrics": "extensive",
    "quota-backend-bytes": "1073741824",
    "snapshot-catchup-entries": "5000",
    "snapshot-count": "5000",
    "tls-min-version": "TLS1.2",
}


@pytest.fixture(scope="module")
def plane() -> Iterator[RenderedPlane]:
    running = RenderedPlane(a_cluster())
    try:
        assert running.start_member("demo-etcd-0").returncode == 0
        for component in ("apiserver", "controller-manager", "scheduler"):
            running.start(component)
        for component, address in (("demo-etcd-0", running.members["demo-etcd-0"]), *((c, running.address) for c in masters())):
            running.wait(f"readiness of {component}", lambda c=component, a=address: running.probe(c, "readinessProbe", a) == 200)
        applied = apply_inside(running)
        assert applied.returncode == 0, applied.stderr
        yield running
    finally:
        running.close()


def masters() -> tuple[str, ...]:
    return ("apiserver", "controller-manager", "scheduler")


def apply_inside(plane: RenderedPlane) -> CompletedProcess[str]:
    return plane.kubectl(
        AS_OPERATOR, "apply", "--server-side", "--field-manager=kok-cluster-operator", "-f", "-", given=documents(plane.inside())
    )


def policies_in(plane: RenderedPlane) -> list[dict[str, Any]]:
    found = plane.kubectl(AS_OPERATOR, "get", "validatingadmissionpolicies", "-o", "json")
    return list(json.loads(found.stdout)["items"])


def wait_for_type_checking(plane: RenderedPlane) -> None:
    plane.wait("type checking", lambda: all("typeChecking" in policy.get("status", {}) for policy in policies_in(plane)))


def test_should_answer_every_probe_as_the_kubelet_asks_it(plane: RenderedPlane) -> None:
    """Within the probe's own seconds; now and then one comes too late on a busy machine, which a kubelet forgives, too."""
    asked = [(component, plane.address) for component in masters()] + [("demo-etcd-0", plane.members["demo-etcd-0"])]
    for (component, address), probe in product(asked, ("startupProbe", "livenessProbe", "readinessProbe")):
        plane.wait(f"{probe} of {component}", lambda c=component, p=probe, a=address: plane.probe(c, p, a) == 200)


def test_should_answer_strangers_on_health_paths_only(plane: RenderedPlane) -> None:
    base = f"https://{plane.address}:6443"

    assert [plane.get(f"{base}{path}") for path in ("/livez", "/readyz", "/healthz")] == [200, 200, 200]
    assert [plane.get(f"{base}{path}") for path in ("/version", "/api", "/metrics", "/livez/etcd")] == [401, 401, 401, 401]


def test_should_let_the_admin_write(plane: RenderedPlane) -> None:
    done = plane.kubectl(AS_ADMIN, "create", "configmap", "first", "--from-literal=a=b")

    assert done.returncode == 0, done.stderr


def test_should_accept_what_goes_inside_twice_without_changing_anything(plane: RenderedPlane) -> None:
    def versions() -> list[str]:
        kinds = (
            "clusterroles,clusterrolebindings,configmaps,daemonsets,deployments,services,endpointslices,validatingadmissionpolicies,crds"
        )
        columns = "custom-columns=K:.kind,N:.metadata.name,G:.metadata.generation,M:.metadata.managedFields[?(@.manager=='kok-cluster-operator')].time"
        return plane.kubectl(AS_OPERATOR, "get", kinds, "-A", "-l", "kok.dev/cluster=demo", "-o", columns).stdout.splitlines()

    wait_for_type_checking(plane)
    assert apply_inside(plane).returncode == 0  # the API server rewrites a policy once after its controller has filled the status
    before = versions()
    time.sleep(1.1)  # managedFields count whole seconds
    again = apply_inside(plane)

    assert again.returncode == 0, again.stderr
    assert [line for line in versions() if line not in before] == []
    assert len(before) > 20


def test_should_write_admission_policies_that_type_check(plane: RenderedPlane) -> None:
    wait_for_type_checking(plane)

    assert len(policies_in(plane)) == 4
    assert [policy["metadata"]["name"] for policy in policies_in(plane) if policy["status"]["typeChecking"]] == []


def test_should_keep_machines_to_the_machine_operator(plane: RenderedPlane) -> None:
    refused = plane.kubectl(AS_ADMIN, "apply", "-f", "-", given=MACHINE)
    assert "made by the Machine-Operator from a MachinePool" in refused.stderr

    made = plane.kubectl(AS_MACHINE_OPERATOR, "apply", "-f", "-", given=MACHINE)
    assert made.returncode == 0, made.stderr

    for patch in ('{"spec": {"packages": ["other-1"]}}', '{"spec": {"packages": null}}', '{"spec": {"pool": "other"}}'):
        refused = plane.kubectl(AS_ADMIN, "patch", "machines.kok.dev", "m1", "--type=merge", "-p", patch)
        assert "copies of what the meta cluster authorised" in refused.stderr, patch
    asked = plane.kubectl(AS_ADMIN, "patch", "machines.kok.dev", "m1", "--type=merge", "-p", '{"spec": {"desiredState": "Maintenance"}}')
    assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize("words", [("machines.kok.dev", "m2"), ("machines.kok.dev", "--all"), ("crd", "machines.kok.dev"), ("node", "n2")])
def test_should_keep_deletion_to_the_machine_operator(plane: RenderedPlane, words: tuple[str, ...]) -> None:
    plane.kubectl(AS_MACHINE_OPERATOR, "apply", "-f", "-", given=MACHINE.replace("m1", "m2"))
    plane.kubectl(AS_OPERATOR, "create", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}}))

    refused = plane.kubectl(AS_ADMIN, "delete", *words, "--wait=false")

    assert "only the Machine-Operator deletes Machines and Nodes" in refused.stderr
    allowed = plane.kubectl(AS_MACHINE_OPERATOR, "delete", "machines.kok.dev", "m2", "--wait=false")
    assert allowed.returncode == 0, allowed.stderr


def test_should_let_nobody_delete_the_definition_by_collection(plane: RenderedPlane) -> None:
    refused = plane.kubectl(AS_ADMIN, "delete", "--raw", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")

    assert "only the Machine-Operator deletes" in refused.stderr


def test_should_break_glass_in_an_emergency(plane: RenderedPlane) -> None:
    plane.kubectl(AS_OPERATOR, "create", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3"}}))
    identity = ("--as=somebody", "--as-group=kok:admins", "--as-group=kok:break-glass")

    done = plane.kubectl(AS_ADMIN, *identity, "delete", "node", "n3")

    assert done.returncode == 0, done.stderr


def report(reporter: str, name: str = "agent.m1", labels: dict[str, str] | None = None, **data: str) -> str:
    metadata = {"name": name, "namespace": "kok-conditions", "labels": {"kok.dev/machine": "m1"} if labels is None else labels}
    fields = {"type": "LogAgentReady", "status": "True", "reason": "Running", "message": "fine", "reporter": reporter, **data}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": fields})


def lease(holder: str, name: str = "agent") -> str:
    head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "kok-conditions"}}
    return json.dumps({**head, "spec": {"holderIdentity": holder, "renewTime": "2026-01-01T00:00:00.000000Z"}})


AS_OTHER = ("--as=other", "--as-group=kok:admins")
AS_BREAK_GLASS = ("--as=somebody", "--as-group=kok:admins", "--as-group=kok:break-glass")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (report("other"), "data.reporter must be who writes it: kok:admin"),
        (report("kok:admin", labels={}), "label kok.dev/machine"),
        (report("kok:admin", type="Log Agent"), "data.type is the gate's type"),
        (report("kok:admin", status="yes"), "data.status is True, False or Unknown"),
        (report("kok:admin", reason="two words"), "data.reason is one word"),
        (report("kok:admin", message="x" * 1025), "at most 1024 characters"),
        (report("kok:admin", more="x"), "and nothing else"),
        (lease("other"), "spec.holderIdentity must be who writes it: kok:admin"),
    ],
)
def test_should_refuse_a_report_that_is_not_one(plane: RenderedPlane, given: str, words: str) -> None:
    assert words in plane.kubectl(AS_ADMIN, "create", "-f", "-", given=given).stderr


def test_should_bind_a_condition_report_to_its_writer(plane: RenderedPlane) -> None:
    mine = plane.kubectl(AS_ADMIN, "create", "-f", "-", given=report("kok:admin", bootID="boot-1"))
    assert mine.returncode == 0, mine.stderr

    stolen = plane.kubectl(AS_ADMIN, *AS_OTHER, "replace", "-f", "-", given=report("other"))
    removed = plane.kubectl(AS_ADMIN, *AS_OTHER, "-n", "kok-conditions", "delete", "configmap", "agent.m1")
    forged = plane.kubectl(AS_ADMIN, *AS_BREAK_GLASS, "replace", "-f", "-", given=report("kok:admin", status="False"))
    moved = plane.kubectl(AS_ADMIN, "replace", "-f", "-", given=report("kok:admin", labels={"kok.dev/machine": "m2"}))
    changed = plane.kubectl(AS_ADMIN, "replace", "-f", "-", given=report("kok:admin", status="False"))

    assert "this report is another's" in stolen.stderr
    assert "this report is another's" in removed.stderr
    assert "data.reporter must be who writes it: somebody" in forged.stderr, "in an emergency reports are removed, not invented"
    assert "the labels of a report never change" in moved.stderr
    assert changed.returncode == 0, changed.stderr
    for identity in (AS_BREAK_GLASS, ()):
        who = AS_ADMIN if identity else AS_MACHINE_OPERATOR
        allowed = plane.kubectl(who, *identity, "-n", "kok-conditions", "delete", "configmap", "agent.m1")
        assert allowed.returncode == 0, allowed.stderr
        plane.kubectl(AS_ADMIN, "create", "-f", "-", given=report("kok:admin"))


def test_should_bind_a_reporters_lease_to_it(plane: RenderedPlane) -> None:
    mine = plane.kubectl(AS_ADMIN, "create", "-f", "-", given=lease("kok:admin"))
    assert mine.returncode == 0, mine.stderr

    stolen = plane.kubectl(AS_ADMIN, *AS_OTHER, "replace", "-f", "-", given=lease("other"))
    removed = plane.kubectl(AS_ADMIN, *AS_OTHER, "-n", "kok-conditions", "delete", "lease", "agent")
    renewed = plane.kubectl(AS_ADMIN, "replace", "-f", "-", given=lease("kok:admin"))

    assert "this Lease is another reporter's" in stolen.stderr
    assert "this Lease is another reporter's" in removed.stderr
    assert renewed.returncode == 0, renewed.stderr


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("patch", "nodes"), "yes"),
        (("patch", "nodes", "--subresource=status"), "yes"),
        (("list", "validatingadmissionpolicies"), "yes"),
        (("patch", "validatingadmissionpolicybindings"), "no"),
        (("create", "configmaps", "-n", "kok-conditions"), "no"),
        (("delete", "nodes"), "yes"),
        (("create", "pods", "--subresource=eviction", "-n", "default"), "yes"),
        (("update", "certificatesigningrequests", "--subresource=approval"), "yes"),
        (("create", "secrets", "-n", "kube-system"), "yes"),
        (("list", "secrets", "-n", "kube-system"), "no"),
        (("get", "secrets", "-n", "default"), "no"),
        (("create", "pods", "-n", "default"), "no"),
        (("create", "clusterrolebindings"), "no"),
        (("impersonate", "users"), "no"),
    ],
)
def test_should_give_the_machine_operator_no_more_than_it_needs(plane: RenderedPlane, words: tuple[str, ...], answer: str) -> None:
    assert plane.kubectl(AS_MACHINE_OPERATOR, "auth", "can-i", *words).stdout.strip() == answer


def test_should_let_a_bootstrap_token_ask_but_approve_nothing(plane: RenderedPlane) -> None:
    token = ("--as=system:bootstrap:abcdef", "--as-group=system:bootstrappers")

    assert plane.kubectl(AS_OPERATOR, *token, "auth", "can-i", "create", "certificatesigningrequests").stdout.strip() == "yes"
    for attribute in ("nodeclient", "selfnodeclient"):
        asked = plane.kubectl(AS_OPERATOR, *token, "auth", "can-i", "create", "certificatesigningrequests", f"--subresource={attribute}")
        assert asked.stdout.strip() == "no", attribute


def test_should_give_every_namespace_the_cluster_ca(plane: RenderedPlane) -> None:
    def published() -> bool:
        return plane.kubectl(AS_ADMIN, "-n", "kok-conditions", "get", "configmap", "kube-root-ca.crt").returncode == 0

    plane.wait("the CA in kok-conditions", published)


def test_should_start_an_etcd_with_every_flag_that_may_be_set() -> None:
    plane = RenderedPlane(a_cluster(flags={"etcd": EVERY_ETCD_FLAG}))
    try:
        assert plane.start_member("demo-etcd-0").returncode == 0
        plane.wait("etcd", lambda: plane.probe("demo-etcd-0", "readinessProbe", plane.members["demo-etcd-0"]) == 200)
    finally:
        plane.close()


def test_should_form_three_members_and_never_begin_anew() -> None:
    plane = RenderedPlane(a_cluster(etcd={"members": 3}))
    try:
        first = dict(list(plane.members.items())[:3])
        for name in first:
            assert plane.start_member(name).returncode == 0
        for name, address in first.items():
            plane.wait(f"quorum at {name}", lambda n=name, a=address: plane.probe(n, "readinessProbe", a) == 200)
        record = bootstrap_record(plane.inputs.cluster, "etcd", EtcdBootstrap("c0ffee", "token"))["data"]

        plane.kill("demo-etcd-2")
        assert plane.start_member("demo-etcd-2", record).returncode == 0
        plane.wait("the member that goes on", lambda: plane.probe("demo-etcd-2", "readinessProbe", plane.members["demo-etcd-2"]) == 200)

        plane.kill("demo-etcd-2")
        plane.data_of("demo-etcd-2").rename(plane.folder / "lost")
        refused = plane.start_member("demo-etcd-2", record)
        assert refused.returncode == 3
        assert "demo-etcd-2 has no data, but this etcd has existed" in refused.stderr

        plane.kill("demo-etcd-1")
        left, address = "demo-etcd-0", plane.members["demo-etcd-0"]
        plane.wait("loss of the quorum to show", lambda: plane.probe(left, "readinessProbe", address) != 200)
        assert plane.probe(left, "livenessProbe", address) == 200
        assert plane.probe(left, "startupProbe", address) == 200
    finally:
        plane.close()

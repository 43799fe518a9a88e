"""`kok budget` on a real API server: the table, the answer before the act, a freeze, and the end of an act whose holder is gone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from meta_cluster.cli.main import run
from tests.integration.api_server import ApiServer

pytestmark = pytest.mark.integration
MANIFESTS = Path(__file__).parents[3] / "manifests"
BREAK_GLASS = ("--as", "jane", "--as-group", "system:masters", "--as-group", "kok:break-glass")
CLUSTER = {"packageVersion": "kubernetes-1.35.4-r1", "endpoint": {"type": "ClusterIP"}, "machineAccess": {"sshKeySecretName": "ssh"}}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxP7QkzF3Nq2m0F9k0n8mV1y0q8Yl4nXo8tQm0cJd1e"
POOL = {
    "clusterName": "demo",
    "hosts": [{"name": name, "address": f"{name}.example", "hostKeys": [KEY]} for name in ("w-1", "w-2")],
    "packages": {"follow": "Cluster"},
}
GRANT = {
    "operation": "Drain",
    "target": {"kind": "Machine", "name": "w-1", "cluster": "demo", "pool": "workers", "zone": ""},
    "requester": "machine-operator/demo",
}
HELD = {"opId": "drain-w-1-0", "namespace": "demo", **GRANT, "grantedAt": "2026-03-01T12:00:00Z", "expiresAt": "2026-03-01T12:15:00Z"}
Kok = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def world(meta_server: ApiServer) -> ApiServer:
    """Cluster demo with a pool of two; the shipped budgets; w-1 in the hands of a holder that never came back."""
    meta_server.install_kinds()
    for name in ("demo", "kok-system"):
        meta_server.kubectl("create", "namespace", name)
    meta_server.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "operators" / "base" / "budgets.yaml"))
    kubeconfig = base64.b64encode(meta_server.admin_kubeconfig.read_bytes()).decode()
    objects = (
        _of("Cluster", "demo", CLUSTER),
        _of("MachinePool", "workers", POOL),
        _of("OperationGrant", "drain-w-1-0", GRANT),
        {**_of("Ledger", "ledger", {"inFlight": [HELD]}), "metadata": {"name": "ledger", "namespace": "kok-system"}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "demo-kubeconfig", "namespace": "demo"},
            "data": {"kubeconfig": kubeconfig},
        },
        *({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("w-1", "w-2")),
    )
    for each in objects:
        meta_server.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(each))
    return meta_server


def _of(kind: str, name: str, spec: object) -> dict[str, object]:
    return {"apiVersion": "kok.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "demo"}, "spec": spec}


@pytest.fixture
def kok(world: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kok:
    """Runs a command line; exit code, stdout, stderr."""
    monkeypatch.setenv("KUBECONFIG", str(world.admin_kubeconfig))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_should_show_what_is_used_and_free_and_by_whom(kok: Kok) -> None:
    code, out, _ = kok("budget")
    assert code == 0
    assert out.splitlines()[0].split("   ")[0] == "BUDGET"
    assert "…" not in out
    row, held = [line for line in out.splitlines() if line.startswith("machines-per-pool")]
    assert "pool demo/workers" in row
    assert "pool demo/workers: held by Drain of Machine w-1 by machine-operator/demo for" in held
    assert "by machine-operator/demo holds it since 2026-03-01T12:00:00Z" in kok("budget", "-o", "wide")[1]
    data = json.loads(kok("budget", "-o", "json")[1])
    assert {each["budget"] for each in data} >= {"all-changes", "masters-per-cluster", "plane-upgrades"}
    assert yaml.safe_load(kok("budget", "-o", "yaml")[1]) == data


def test_should_answer_before_anybody_tries(kok: Kok) -> None:
    code, out, _ = kok("budget", "explain", "drain", "w-2", "-n", "demo")
    assert code == 1
    assert out.splitlines()[0] == "drain of Machine w-2 in cluster demo/demo would be denied"
    assert "  no   machines-per-pool in pool demo/workers: 0 of 120 in 3600 s, 1 of 1 out of service" in out
    assert "concurrency: 1 of at most 1 targets are out of service: Drain of Machine w-1 by machine-operator/demo" in out
    assert "  yes  all-changes in the fleet: 0 of 900 in 3600 s" in out
    code, out, _ = kok("budget", "explain", "RestartMaster", "demo-etcd-0", "-n", "demo", "-o", "json")
    assert (code, json.loads(out)["allowed"]) == (0, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("explain", "FormatDisk", "w-1", "-n", "demo"), "FormatDisk: no such operation"),
        (("explain", "Drain", "w-9", "-n", "demo"), "no pool of cluster demo/demo has a machine w-9"),
        (("explain", "Drain", "w-1", "-n", "kok-system"), "holds no Cluster"),
        (("explain", "Drain", "w-1", "-n", "demo", "--purpose", "Fun"), "Fun: no such purpose"),
        (("freeze", "all-changes", "--reason", "x", "--for", "tomorrow"), "--for tomorrow: not a duration"),
        (("freeze", "all-changes", "--reason", "x", "--for", "60d"), "longer than 30 days"),
        (("freeze", "all-changes", "--reason", " ", "--for", "1h"), "--reason is empty"),
        (("close", "all-changes", "--reason", "x"), "OperationBudget all-changes has no open breaker"),
        (("close", "all-changes", "--reason", " "), "--reason is empty"),
        (("freeze", "nothing", "--reason", "x", "--for", "1h"), "there is no OperationBudget nothing"),
        (
            ("freeze", "masters-per-cluster", "--scope", "demo", "--reason", "x", "--for", "1h"),
            "--scope demo: OperationBudget masters-per-cluster counts per Cluster",
        ),
        (
            ("freeze", "masters-per-cluster", "--scope", "cluster demo/dmeo", "--reason", "x", "--for", "1h"),
            "there is no Cluster demo/dmeo",
        ),
        (("settle", "drain-w-1-0", "-n", "demo", "--outcome", "Lost", "--yes"), "--outcome Lost: no such outcome"),
        (("settle", "drain-w-9-0", "-n", "demo", "--outcome", "Failed", "--yes"), "there is no OperationGrant demo/drain-w-9-0"),
    ],
)
def test_should_say_what_was_wrong(kok: Kok, words: tuple[str, ...], says: str) -> None:
    code, _, err = kok("budget", *words)
    assert code == 1
    assert says in err


def test_should_freeze_with_a_reason_and_an_end_and_take_it_back(kok: Kok, world: ApiServer) -> None:
    code, out, _ = kok("budget", "freeze", "masters-per-cluster", "--reason", "incident 42", "--for", "2h")
    assert code == 0
    assert out.startswith("OperationBudget masters-per-cluster is frozen until ")
    code, out, _ = kok("budget", "explain", "RestartMaster", "demo-etcd-0", "-n", "demo")
    assert code == 1
    assert "hold: it is frozen until" in out
    assert "incident 42; kok budget unfreeze masters-per-cluster" in out
    assert kok("budget", "explain", "RestartMaster", "demo-etcd-0", "-n", "demo", "--purpose", "Rollback")[0] == 0
    world.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "operators" / "base" / "budgets.yaml"))
    assert kok("budget", "explain", "RestartMaster", "demo-etcd-0", "-n", "demo")[0] == 1, "an applier leaves it alone"
    assert kok("budget", "unfreeze", "masters-per-cluster")[0] == 0
    assert kok("budget", "explain", "RestartMaster", "demo-etcd-0", "-n", "demo")[0] == 0


def test_should_freeze_one_scope_and_keep_what_is_frozen(kok: Kok) -> None:
    def freeze(*words: str) -> tuple[int, str, str]:
        return kok("budget", "freeze", "masters-per-cluster", *words, "--reason", "incident 42", "--for", "2h")

    why = ("budget", "explain", "RestartMaster", "demo-etcd-0", "-n", "demo")
    assert kok(*why)[0] == 0
    code, out, err = freeze("--scope", "cluster demo/demo")
    assert code == 0, err
    assert " is frozen in cluster demo/demo until " in out
    code, out, _ = kok(*why)
    assert code == 1
    assert "incident 42" in out
    out = " ".join(kok("budget")[1].split())
    assert "cluster demo/demo: breaker ForcedOpen: in cluster demo/demo until " in out, "with its end and its reason"
    code, _, err = freeze("--scope", "cluster demo/nobodys")
    assert (code, "there is no Cluster demo/nobodys" in err) == (1, True)
    assert freeze("--scope", "cluster demo/demo")[0] == 0, "the same again, longer"
    assert freeze()[0] == 0, "more than before"
    code, _, err = freeze("--scope", "cluster demo/demo")
    assert (code, "has a hold already (everywhere)" in err) == (1, True)
    lesser = ("budget", "freeze", "masters-per-cluster", "--reason", "less")
    code, _, err = kok(*lesser, "--for", "1h")
    assert (code, "which would end sooner" in err, "kok budget unfreeze masters-per-cluster first" in err) == (1, True, True)
    code, _, err = kok(*lesser, "--for", "9h", "--disable-breaker")
    assert (code, "which would let pass what is frozen" in err) == (1, True)
    assert kok(*lesser, "--for", "9h")[0] == 0, "longer"
    assert kok("budget", "unfreeze", "masters-per-cluster")[0] == 0
    assert kok(*why)[0] == 0


def test_should_say_what_opened_a_breaker_and_close_it(kok: Kok, world: ApiServer) -> None:
    """The Ledger is as the risk centre would have written it; that it is closed at once is the same evaluation as its own."""
    open_ = {
        "budget": "masters-per-cluster", "scope": "cluster demo/demo", "phase": "Open", "since": "2026-03-01T12:00:00Z",
        "openedAt": "2026-03-01T12:00:00Z", "coolDownSeconds": 600, "cause": "Verdict", "origin": "u-1/", "reason": "rollout train-7 found v2 bad",
    }  # fmt: skip
    world.kubectl(
        "patch", "ledgers.kok.dev", "ledger", "-n", "kok-system", "--type=merge", "-p", json.dumps({"spec": {"breakers": [open_]}})
    )
    why = ("budget", "explain", "RestartMaster", "demo-etcd-0", "-n", "demo")
    assert "masters-per-cluster   cluster demo/demo: breaker Open: rollout train-7 found v2 bad" in kok("budget")[1]
    code, out, _ = kok(*why)
    assert code == 1
    assert (
        "breaker: open since 2026-03-01T12:00:00Z: rollout train-7 found v2 bad; it cools down until 2026-03-01T12:10:00Z at least" in out
    )
    assert "and until that rollout has ended, or by kok budget close masters-per-cluster" in out
    code, _, err = kok("budget", "close", "masters-per-cluster", "--scope", "the fleet", "--reason", "x")
    assert code == 1
    assert "has no open breaker in the fleet (there are in cluster demo/demo)" in err
    code, out, _ = kok("budget", "close", "masters-per-cluster", "--reason", "it was the quota")
    assert (code, out) == (
        0, "OperationBudget masters-per-cluster: its breaker is closed in cluster demo/demo: it was the quota; who was denied asks again\n"
    )  # fmt: skip
    assert kok(*why)[0] == 0
    world.kubectl("patch", "ledgers.kok.dev", "ledger", "-n", "kok-system", "--type=merge", "-p", json.dumps({"spec": {"breakers": []}}))


def test_should_report_for_a_holder_that_is_gone_once(kok: Kok, world: ApiServer) -> None:
    code, out, _ = kok("budget", "settle", "drain-w-1-0", "-n", "demo", "--outcome", "Failed", "--yes", *BREAK_GLASS)
    assert (code, out) == (0, "OperationGrant drain-w-1-0 is reported as Failed; the risk centre frees its slot\n")
    assert (
        json.loads(world.kubectl("get", "operationgrants.kok.dev", "drain-w-1-0", "-n", "demo", "-o", "json"))["spec"]["outcome"]
        == "Failed"
    )
    code, _, err = kok("budget", "settle", "drain-w-1-0", "-n", "demo", "--outcome", "Failed", "--yes", *BREAK_GLASS)
    assert code == 1
    assert "was reported as Failed already" in err

"""The verbs against a real API server, which plays the business cluster, too: its own kubeconfig lies in the Cluster's Secret."""

from __future__ import annotations

import base64
import functools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.cli.main import run
from tests.integration.api_server import ApiServer
from tests.sample_manifests import sample_path

ROOT = Path(__file__).parents[3]
STAMP = "2026-01-02T03:04:05Z"
WHY_NOT = "apiserver: 0 of 1 pods are ready"
PENDING = "0/1 nodes are available: 1 Insufficient memory."
SANDBOX = "failed to set up the sandbox network"
HOST_KEY = "demo-2 (10.89.0.12:22) shows another SSH key than the one pinned in pool workers"
Kok = Callable[..., tuple[int, str, str]]


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1, "lastTransitionTime": STAMP}


def sample(file: str, **metadata: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(sample_path(file).read_text())
    manifest["metadata"] |= metadata
    return manifest


def store(server: ApiServer, manifest: dict[str, Any], status: dict[str, Any] | None = None) -> None:
    """Apply a manifest, then its status."""
    server.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    if status is not None:
        server.kubectl("apply", "--server-side", "--subresource=status", "-f", "-", stdin=json.dumps({**manifest, "status": status}))


def pod() -> dict[str, Any]:
    labels = {"kok.dev/cluster": "demo", "app.kubernetes.io/component": "apiserver"}
    spec = {"containers": [{"name": "apiserver", "image": "x"}], "automountServiceAccountToken": False}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "demo-apiserver-7c9f", "namespace": "demo", "labels": labels},
        "spec": spec,
    }


def event() -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "demo", "name": "demo-apiserver-7c9f"}
    said = {"type": "Warning", "reason": "FailedCreatePodSandBox", "message": SANDBOX, "count": 3, "lastTimestamp": STAMP}
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1", "namespace": "demo"}, "involvedObject": about, **said}


@pytest.fixture(scope="module")
def world(meta_server: ApiServer) -> ApiServer:
    """Cluster demo with its apiserver pending, two machines of which one shows another host key, and Cluster scratch that nobody looked at."""
    meta_server.install_kinds()
    for name in ("demo", "scratch"):
        meta_server.kubectl("create", "namespace", name)
    components = [
        {"name": "etcd", "ready": 1, "wanted": 1},
        {"name": "apiserver", "ready": 0, "wanted": 1, "message": "0 of 1 pods are ready"},
    ]
    conditions = [condition("Ready", "False", "Repairing", WHY_NOT), condition("Reconciling", "True", "Repairing", WHY_NOT)]
    conditions += [condition("ApiserverReady", "False", "NotUp", "0 of 1 pods are ready")]
    status = {
        "phase": "Repairing",
        "message": WHY_NOT,
        "components": components,
        "conditions": conditions,
        "endpoint": "https://10.89.0.2:31443",
    }
    store(meta_server, sample("cluster-small.yaml"), status)
    store(meta_server, sample("cluster-clusterip.yaml"))
    store(meta_server, sample("pool-follow.yaml"))
    secret = {"kubeconfig": base64.b64encode(meta_server.admin_kubeconfig.read_bytes()).decode()}
    store(meta_server, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "demo-kubeconfig", "namespace": "demo"}, "data": secret})
    ports = [{"name": "https", "port": 6443, "nodePort": 31443}]
    metadata = {"name": "demo-apiserver", "namespace": "demo"}
    store(meta_server, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "NodePort", "ports": ports}})
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": PENDING}
    store(meta_server, pod(), {"phase": "Pending", "conditions": [unscheduled]})
    store(meta_server, event())
    store(meta_server, sample("machine.yaml"), {"phase": "Open", "conditions": [condition("Ready", "True", "Open")]})
    changed = [condition("Ready", "False", "HostKeyChanged", HOST_KEY), condition("HostReachable", "False", "HostKeyChanged", HOST_KEY)]
    store(meta_server, sample("machine.yaml", name="demo-2"), {"phase": "Unreachable", "message": HOST_KEY, "conditions": changed})
    return meta_server


@pytest.fixture
def kok(world: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kok:
    """Runs a command line; exit code, stdout, stderr."""
    monkeypatch.setenv("KUBECONFIG", str(world.admin_kubeconfig))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_should_show_every_kind_of_every_namespace(kok: Kok) -> None:
    code, out, err = kok("get", "kok", "-A")
    assert code == 0
    assert [line for line in out.splitlines() if line.endswith(".kok.dev")] == [
        "clusters.kok.dev",
        "machines.kok.dev",
        "machinepools.kok.dev",
    ]
    assert "business cluster scratch/scratch was not looked into" in err
    assert "-A shows all" in kok("get", "kok", "-n", "demo")[2]


def test_should_not_take_machines_that_cannot_be_seen_for_none(kok: Kok) -> None:
    code, out, err = kok("get", "machines", "-n", "scratch")
    assert (code, out) == (1, "")
    assert "business cluster scratch/scratch was not looked into" in err
    assert "No resources" not in err
    assert kok("get", "machines", "-n", "scratch", "-o", "name")[:2] == (1, "")


def test_should_cut_nothing_off_a_terminal_and_fit_100_columns_on_one(kok: Kok, world: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = sample("rollout.yaml", name=f"kubernetes-1.35.4-r1-lab-{'0a' * 30}-october")
    rollout["spec"]["change"]["clusterPackageVersion"] = f"kubernetes-1.35.4-r1-lab-{'0b' * 30}"
    store(world, rollout)
    for words in (("get", "kok", "-A"), ("rollout",), ("rollout", "list"), ("get", "rollouts")):
        out = kok(*words)[1]
        assert rollout["metadata"]["name"] in out, words
        assert "…" not in out
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "180")
    for words in (("get", "kok", "-A"), ("rollout",)):
        out = kok(*words)[1]
        assert max(map(len, out.splitlines())) <= 100
        assert "…" in out
    world.kubectl("delete", "fleetrollouts.kok.dev", rollout["metadata"]["name"])


def test_should_show_a_cluster_and_why_it_is_not_ready(kok: Kok) -> None:
    _, out, _ = kok("get", "kc", "-n", "demo")
    assert out.splitlines()[0].split() == ["NAME", "VERSION", "READY", "PHASE", "ENDPOINT", "MACHINES", "AGE"]
    assert WHY_NOT in " ".join(out.split())


def test_should_show_machines_of_the_business_cluster(kok: Kok) -> None:
    _, out, _ = kok("get", "machines", "-n", "demo")
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["demo/demo", "demo-1"], ["demo/demo", "demo-2"]]


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_should_give_data(kok: Kok, output: str, load: Callable[[str], Any]) -> None:
    one = load(kok("get", "cluster", "demo", "-n", "demo", "-o", output)[1])
    assert (one["kind"], one["metadata"]["name"]) == ("Cluster", "demo")
    assert "managedFields" not in one["metadata"]
    many = load(kok("get", "clusters", "-A", "-o", output)[1])
    assert [item["metadata"]["name"] for item in many["items"]] == ["demo", "scratch"]


def test_should_give_names(kok: Kok) -> None:
    assert kok("get", "machines", "-n", "demo", "-o", "name")[1].splitlines() == ["machine.kok.dev/demo-1", "machine.kok.dev/demo-2"]


def test_should_say_when_there_is_nothing(kok: Kok) -> None:
    assert kok("get", "pools", "-n", "scratch") == (0, "", "No resources found in namespace scratch. (-A: in all)\n")
    assert kok("get", "budgets", "-n", "scratch") == (0, "", "No resources found.\n"), "they are in no namespace"


@pytest.mark.parametrize("word", ["cluster", "clusters"])
def test_should_fail_for_what_is_not_there(kok: Kok, word: str) -> None:
    code, out, err = kok("get", word, "nobody", "-n", "demo")
    assert (code, out) == (1, "")
    assert "there is no cluster nobody in namespace demo" in err
    assert "code  NotFound" in err


def test_should_take_kubectls_forms(kok: Kok) -> None:
    whole = ("-n", "demo", "-o", "json")  # a table has an age, which goes on between two calls
    assert kok("get", "cluster/demo", *whole) == kok("get", "cluster", "demo", *whole)
    assert kok("get", "clusters,pools", "-n", "demo", "-o", "name")[1].split() == ["cluster.kok.dev/demo", "machinepool.kok.dev/workers"]
    code, out, err = kok("get", "pool/workers", "cluster/demo", "host/demo-2", "-n", "demo", "-o", "name")
    assert (code, out.split(), err) == (0, ["machinepool.kok.dev/workers", "cluster.kok.dev/demo", "machine.kok.dev/demo-2"], "")
    assert kok("get", "kok/workers", "pool/workers", "-n", "demo", "-o", "name")[1].split() == ["machinepool.kok.dev/workers"]
    assert json.loads(kok("get", "cluster/demo", "-n", "demo", "-o", "json")[1])["kind"] == "Cluster"
    assert kok("describe", "pool/workers", "-n", "demo")[1].split()[:2] == kok("describe", "pool", "workers", "-n", "demo")[1].split()[:2]
    assert kok("why", "host/demo-2", "-n", "demo")[1].split("(")[0] == kok("why", "machine", "demo-2", "-n", "demo")[1].split("(")[0]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("get", "cluster", "dmeo", "-n", "demo"), "did you mean demo?"),
        (("get", "cluster", "demo"), "namespace demo has it: -n demo"),
        (("get", "cluster", "demo", "-n", "demo", "-l", "no=such"), "kok get cluster -A lists what there is"),
        (("get", "cluster", "nobody", "-n", "demo"), "kok get cluster -A lists what there is"),
        (("get", "machine", "dmeo-1", "-n", "demo"), "did you mean demo-1?"),
        (("why", "cluster", "demo"), "namespace demo has it: -n demo"),
        (("describe", "cluster", "dem", "-n", "demo"), "did you mean demo?"),
        (("kubeconfig", "demmo", "-n", "demo"), "did you mean demo?"),
        (("why", "host", "dem-2", "-n", "demo"), "did you mean demo-2?"),
        (("get", "pool", "workrs", "-n", "demo"), "did you mean workers?"),
        (("rollout", "status", "nobody"), "kok rollout list shows what there is"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_should_say_where_a_name_is_or_what_was_meant(kok: Kok, words: tuple[str, ...], hint: str) -> None:
    code, out, err = kok(*words)
    assert (code, out) == (1, "")
    assert f"  do    {hint}\n" in err


def test_should_describe_a_cluster(kok: Kok) -> None:
    code, out, _ = kok("describe", "cluster", "demo", "-n", "demo")
    assert code == 0
    assert out.startswith("Cluster demo/demo   Ready=False  Repairing")
    assert f"cannot be scheduled: {PENDING}"[:60] in " ".join(out.replace("│", " ").split())
    assert "Machines   1/2 open   1 not" in out
    assert "\x1b" not in out


def test_should_describe_any_other_kind(kok: Kok) -> None:
    assert "10.89.0.11" in kok("describe", "pool", "workers", "-n", "demo")[1]
    assert kok("describe", "machine", "demo-2", "-n", "demo")[1].startswith("Machine demo-2 of demo/demo   Ready=False  Unreachable")
    assert json.loads(kok("describe", "cluster", "demo", "-n", "demo", "-o", "json")[1])["kind"] == "Cluster"


def test_should_go_down_to_the_pod_event(kok: Kok) -> None:
    said = kok("why", "cluster", "demo", "-n", "demo")[1]
    assert all(len(line) <= 100 for line in said.splitlines()), said
    assert " ".join(" ".join(said.splitlines()[1:]).split()) == (
        f"because {WHY_NOT} because pod demo-apiserver-7c9f cannot be scheduled: {PENDING} "
        f"last event: FailedCreatePodSandBox: {SANDBOX} (x3) Next: kubectl -n demo describe pod demo-apiserver-7c9f"
    )


def test_should_go_down_to_the_ssh_error(kok: Kok) -> None:
    out = kok("why", "machine", "demo-2", "--cluster", "demo", "-n", "demo")[1]
    assert f"because {HOST_KEY}" in out
    assert "kok host scan" in out
    assert json.loads(kok("why", "machine", "demo-2", "-n", "demo", "-o", "json")[1])["because"] == [HOST_KEY]


def test_should_explain_a_host_that_has_no_machine_yet(kok: Kok, world: ApiServer) -> None:
    pool = sample("pool-follow.yaml")
    pool["spec"]["hosts"].append({"name": "demo-3", "address": "10.89.0.13"})
    store(world, pool)
    assert "demo-3 is no machine yet" in kok("why", "machine", "demo-3", "-n", "demo")[1]
    assert kok("why", "machine", "demo-9", "-n", "demo")[0] == 1


def test_should_print_a_kubeconfig_that_works(kok: Kok, world: ApiServer, tmp_path: Path) -> None:
    code, out, _ = kok("kubeconfig", "demo", "-n", "demo")
    assert code == 0
    (tmp_path / "config").write_text(out)
    assert "machine.kok.dev/demo-1" in world.kubectl("--kubeconfig", str(tmp_path / "config"), "get", "machines.kok.dev", "-o", "name")


def test_should_say_why_there_is_no_kubeconfig_yet(kok: Kok) -> None:
    code, _, err = kok("kubeconfig", "scratch", "-n", "scratch")
    assert code == 1
    assert "Cluster scratch/scratch has no kubeconfig yet" in err
    assert "kok why cluster scratch -n scratch" in err


def test_should_give_no_kubeconfig_whose_port_is_another_clusters(kok: Kok, world: ApiServer) -> None:
    taken = (
        "spec.endpoint.port: node port 31443 is taken by Cluster demo/demo (Service demo/demo-apiserver); set another spec.endpoint.port"
    )
    world.kubectl("create", "namespace", "late")
    conditions = [condition("Ready", "False", "PortTaken", taken), condition("Stalled", "True", "PortTaken", taken)]
    conditions += [condition("EtcdReady", "False", "Missing", "etcd does not exist yet")]
    late = sample("cluster-small.yaml", name="late", namespace="late")
    store(world, late, {"phase": "Stalled", "message": taken, "conditions": conditions})
    secret = {"kubeconfig": base64.b64encode(world.admin_kubeconfig.read_bytes()).decode()}
    store(world, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late-kubeconfig", "namespace": "late"}, "data": secret})
    code, out, err = kok("kubeconfig", "late", "-n", "late")
    assert (code, out) == (1, "")
    assert taken in err
    assert "code  PortTaken" in err
    why = " ".join(kok("why", "cluster", "late", "-n", "late")[1].split())
    assert taken in why
    assert "kok explain PortTaken" in why
    assert "describe deployment" not in why
    world.kubectl("delete", "clusters.kok.dev", "late", "-n", "late")


def test_should_show_versions(kok: Kok) -> None:
    code, out, _ = kok("version")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["client", "operators", "meta"]
    assert "v1.35.4" in out


def test_should_show_its_own_version_and_fail_when_no_server_answers(kok: Kok, world: ApiServer, tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.write_text(world.admin_kubeconfig.read_text().replace(f":{world.port}", ":1"))
    code, out, err = kok("version", "--kubeconfig", str(dead))
    assert code == 1
    assert out.startswith("client ")
    assert "cannot be reached: the connection was refused" in err
    code, _, err = kok("get", "clusters", "--kubeconfig", str(dead))
    assert code == 1
    assert "code  Unreachable" in err


def test_should_list_the_contexts_there_are(kok: Kok, world: ApiServer) -> None:
    there = yaml.safe_load(world.admin_kubeconfig.read_text())["contexts"][0]["name"]
    code, _, err = kok("get", "clusters", "--context", "nowhere")
    assert code == 1
    assert f"has no context named 'nowhere'; it has: {there}" in err
    assert "code  Usage" in err


def test_should_try_an_installation_and_tell_how_it_stands(kok: Kok, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = kok("meta", "install", "--artifacts", "/srv/files", "--image", "registry.kok.dev/kok:test", "--dry-run")
    assert code == 0, err
    assert "created Deployment kok-system/kok-cluster-operator" in out
    assert "(not stored: --dry-run)" in out
    code, out, err = kok("meta", "status")
    assert code == 1
    assert "kok-cluster-operator" in out
    assert "kok meta install brings what is missing" in err


def test_should_refuse_to_uninstall_under_clusters(kok: Kok) -> None:
    code, _, err = kok("meta", "uninstall", "--yes")
    assert code == 1
    assert "2 clusters are left: demo/demo, scratch/scratch" in err


def test_should_follow_changes_until_interrupted(world: ApiServer) -> None:
    words = [
        sys.executable,
        "-m",
        "meta_cluster.cli.main",
        "get",
        "clusters",
        "-n",
        "scratch",
        "-w",
        "--kubeconfig",
        str(world.admin_kubeconfig),
    ]
    # A shell that runs the tests in the background makes its children ignore Ctrl-C; a person's shell does not.
    ctrl_c = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    watcher = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=ctrl_c)
    assert watcher.stdout is not None
    try:
        assert watcher.stdout.readline().split()[0] == "NAME"
        assert watcher.stdout.readline().split()[0] == "scratch"
        time.sleep(0.5)
        status = {"phase": "Creating", "conditions": [condition("Ready", "False", "Creating", "etcd: 0 of 1 pods are ready")]}
        store(world, sample("cluster-clusterip.yaml"), status)
        assert any("Creating" in watcher.stdout.readline() for _ in range(3)), "the spec's own change may come first"
    finally:
        watcher.send_signal(signal.SIGINT)
    assert watcher.wait(60) == 130

"""The shipped rules, scrape configuration and dashboard against the real Prometheus tools and the operators' real metrics."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.cluster_operator.main import build
from operators.cluster_operator.metrics import STATES, counted, counted_rollouts
from operators.cluster_operator.settings import Settings
from operators.engine.metrics import Metrics
from operators.machine_operator import metrics as machine_metrics
from tests.integration.api_server import ApiServer, asset

FOLDER = Path(__file__).parents[3] / "manifests" / "monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
KUBERNETES_OWN = {"up", "process_cpu_seconds_total"}

# name{labels}: value; what a fleet looks like on which nothing is wrong
OPERATOR, MACHINES = 'job="kok-cluster-operator",namespace="kok-system"', 'job="kok-machine-operator",namespace="demo",cluster="demo"'
HEALTHY = {
    f'up{{{OPERATOR},pod="a"}}': "1",
    f'up{{{OPERATOR},pod="b"}}': "1",
    f'up{{{MACHINES},pod="m"}}': "1",
    f'kok_leader_epoch{{{OPERATOR},pod="a"}}': "3",
    f'kok_leader_epoch{{{OPERATOR},pod="b"}}': "0",
    f'kok_clusters{{{OPERATOR},pod="a",state="stalled"}}': "0",
    f'kok_rollouts{{{OPERATOR},pod="a",state="waiting"}}': "0",
    f'kok_breakers_open{{{OPERATOR},pod="a",budget="machines"}}': "0",
    f'kok_ledger_log_entries{{{OPERATOR},pod="a"}}': "1000",
    f'kok_machines{{{MACHINES},pod="m",state="known"}}': "10",
    f'kok_machines{{{MACHINES},pod="m",state="open"}}': "9",
    f'kok_machines{{{MACHINES},pod="m",state="stalled"}}': "0",
    f'kok_host_probes{{{MACHINES},pod="m"}}': "0+10x300",
    f'kok_ansible_runs{{{MACHINES},pod="m"}}': "0+1x300",
    f'kok_reconciles_total{{{OPERATOR},pod="a",controller="cluster",result="ok"}}': "0+10x300",
    f'kok_reconciles_total{{{OPERATOR},pod="a",controller="cluster",result="Conflict"}}': "0+1x300",
    f'kok_reconcile_seconds_bucket{{{OPERATOR},pod="a",controller="cluster",le="1.0"}}': "0+9x300",
    f'kok_reconcile_seconds_bucket{{{OPERATOR},pod="a",controller="cluster",le="10.0"}}': "0+10x300",
    f'kok_reconcile_seconds_bucket{{{OPERATOR},pod="a",controller="cluster",le="+Inf"}}': "0+10x300",
    f'kok_queue_oldest_seconds{{{OPERATOR},pod="a",controller="cluster"}}': "20",
    f'kok_queue_depth{{{OPERATOR},pod="a",controller="cluster"}}': "5",
    f'kok_watch_missed_total{{{OPERATOR},pod="a",server="meta",kind="Cluster"}}': "0",
    f'kok_api_calls_total{{{OPERATOR},pod="a",server="meta",verb="get",code="200"}}': "0+600x300",
    f'kok_api_calls_total{{{OPERATOR},pod="a",server="meta",verb="get",code="0"}}': "0+1x300",
    f'kok_api_calls_total{{{OPERATOR},pod="a",server="meta",verb="get",code="429"}}': "0",
    f'kok_api_call_seconds_bucket{{{OPERATOR},pod="a",server="meta",verb="get",le="0.5"}}': "0+95x300",
    f'kok_api_call_seconds_bucket{{{OPERATOR},pod="a",server="meta",verb="get",le="5.0"}}': "0+100x300",
    f'kok_api_call_seconds_bucket{{{OPERATOR},pod="a",server="meta",verb="get",le="+Inf"}}': "0+100x300",
    f'kok_api_writes_total{{{OPERATOR},pod="a",server="meta",verb="apply"}}': "0+60x300",
    f'process_resident_memory_bytes{{{OPERATOR},pod="a"}}': "200000000",
    f'kok_probe_pods_total{{{OPERATOR},pod="a",cluster="demo/demo",result="good"}}': "0+0.1x300",
    f'kok_probe_pods_total{{{OPERATOR},pod="a",cluster="demo/demo",result="bad"}}': "0+0.05x300",
    f'kok_probe_bad_in_a_row{{{OPERATOR},pod="a",cluster="demo/demo"}}': "1",
}
ABSENT = "_"
BROKEN: dict[str, dict[str, str]] = {
    "KokClusterOperatorDown": {f'up{{{OPERATOR},pod="a"}}': "0", f'up{{{OPERATOR},pod="b"}}': ABSENT},
    "KokMachineOperatorDown": {f'up{{{MACHINES},pod="m"}}': "0"},
    "KokNoLeader": {f'kok_leader_epoch{{{OPERATOR},pod="a"}}': "0"},
    "KokTwoLeaders": {f'kok_leader_epoch{{{OPERATOR},pod="b"}}': "4"},
    "KokClustersStalled": {f'kok_clusters{{{OPERATOR},pod="a",state="stalled"}}': "1"},
    "KokRolloutsWait": {f'kok_rollouts{{{OPERATOR},pod="a",state="waiting"}}': "1"},
    "KokBreakerOpen": {f'kok_breakers_open{{{OPERATOR},pod="a",budget="machines"}}': "1"},
    "KokLedgerNearlyFull": {f'kok_ledger_log_entries{{{OPERATOR},pod="a"}}': "1201"},
    "KokClusterMakesNoPods": {f'kok_probe_bad_in_a_row{{{OPERATOR},pod="a",cluster="demo/demo"}}': "2"},
    "KokMachinesStalled": {f'kok_machines{{{MACHINES},pod="m",state="stalled"}}': "1"},
    "KokMachinesClosed": {f'kok_machines{{{MACHINES},pod="m",state="open"}}': "7"},
    "KokHostsNotLookedAt": {f'kok_host_probes{{{MACHINES},pod="m"}}': "7"},
    "KokAnsibleWithoutEnd": {f'kok_ansible_runs{{{MACHINES},pod="m"}}': "0+2x300"},
    "KokPassesFail": {f'kok_reconciles_total{{{OPERATOR},pod="a",controller="cluster",result="Conflict"}}': "0+11x300"},
    "KokPassesSlow": {f'kok_reconcile_seconds_bucket{{{OPERATOR},pod="a",controller="cluster",le="1.0"}}': "0+5x300"},
    "KokQueueStuck": {f'kok_queue_oldest_seconds{{{OPERATOR},pod="a",controller="cluster"}}': "400"},
    "KokQueueLong": {f'kok_queue_depth{{{OPERATOR},pod="a",controller="cluster"}}': "101"},
    "KokWatchMisses": {f'kok_watch_missed_total{{{OPERATOR},pod="a",server="meta",kind="Cluster"}}': "0+1x300"},
    "KokApiFails": {f'kok_api_calls_total{{{OPERATOR},pod="a",server="meta",verb="get",code="0"}}': "0+60x300"},
    "KokApiThrottles": {f'kok_api_calls_total{{{OPERATOR},pod="a",server="meta",verb="get",code="429"}}': "0+12x300"},
    "KokApiSlow": {f'kok_api_call_seconds_bucket{{{OPERATOR},pod="a",server="meta",verb="get",le="0.5"}}': "0+50x300"},
    "KokWritesWithoutEnd": {f'kok_api_writes_total{{{OPERATOR},pod="a",server="meta",verb="apply"}}': "0+1500x300"},
    "KokMemory": {f'process_resident_memory_bytes{{{OPERATOR},pod="a"}}': "450000000"},
}


def promtool(*words: str | Path) -> str:
    done = subprocess.run([asset("promtool"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def group(name: str, changes: dict[str, str], firing: list[str], at: str) -> dict[str, Any]:
    """One promtool test: these series, and exactly these alerts firing at that time."""
    series = [
        {"series": key, "values": value if "x" in value or value == ABSENT else f"{value}x300"}
        for key, value in (HEALTHY | changes).items()
    ]
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing]
    query = {"expr": 'group by (alertname) (ALERTS{alertstate="firing"})', "eval_time": at, "exp_samples": expected}
    return {"name": name, "interval": "1m", "input_series": series, "promql_expr_test": [query]}


def exposed(server: ApiServer) -> set[str]:
    """The names that a scrape of either operator gives, with what histograms and counters append."""
    credentials = kubeconfig_credentials(server.kubeconfig("nobody"))
    cluster_operator = build(Settings(kubeconfig="unused", identity="a"), credentials).metrics.text().decode()
    metrics = Metrics()
    world: Any = SimpleNamespace(
        hands=SimpleNamespace(probes=SimpleNamespace(looks=1), jobs=SimpleNamespace(runs=2)), board=SimpleNamespace(verdicts={})
    )
    machine_metrics.expose(metrics.registry, world)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", cluster_operator + metrics.text().decode(), re.MULTILINE))
    endings = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + ending for name, kind in kinds.items() for ending in endings.get(kind, ("",))}


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:kok|process)_[a-z_]+\b", re.sub(r'"[^"]*"', "", expression)))


def test_should_pass_the_checks_of_promtool() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", FOLDER / "alerts.yml")


def test_should_find_the_pods_of_both_operators_and_no_others(tmp_path: Path) -> None:
    """Debian's Prometheus has no discovery of Kubernetes: its labels come from a static list here, the relabelling is the shipped one."""
    pods = [
        ("cluster-operator", "8080", "", "a"),
        ("machine-operator", "8080", "demo", "m"),
        ("etcd", "8080", "demo", "e"),
        ("machine-operator", "9", "demo", "n"),
    ]
    config = yaml.safe_load((FOLDER / "scrape.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs")[0]["selectors"] == [{"role": "pod", "label": "app.kubernetes.io/managed-by=kok"}]
    job["static_configs"] = [
        {
            "targets": [f"10.0.0.{number}:{port}"],
            "labels": {
                "__meta_kubernetes_namespace": cluster or "kok-system",
                "__meta_kubernetes_pod_name": pod,
                "__meta_kubernetes_pod_label_app_kubernetes_io_component": component,
                "__meta_kubernetes_pod_label_kok_dev_cluster": cluster,
                "__meta_kubernetes_pod_container_port_number": port,
            },
        }
        for number, (component, port, cluster, pod) in enumerate(pods)
    ]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    found = [
        each["labels"] for each in json.loads(promtool("check", "service-discovery", "--timeout=1s", path, "kok")) if each.get("labels")
    ]
    shown = [{name: each[name] for name in ("job", "namespace", "pod", "cluster") if name in each} for each in found]
    assert sorted(shown, key=lambda each: each["pod"]) == [
        {"job": "kok-cluster-operator", "namespace": "kok-system", "pod": "a"},
        {"job": "kok-machine-operator", "namespace": "demo", "pod": "m", "cluster": "demo"},
    ]


def test_should_fire_exactly_when_something_is_wrong(tmp_path: Path) -> None:
    assert set(BROKEN) == {rule["alert"] for rule in RULES}
    groups = [group(alert, changes, [alert], "3h") for alert, changes in BROKEN.items()]
    groups += [group("nothing is wrong", {}, [], at) for at in ("10m", "3h")]
    groups += [group(f"{alert} not at once", changes, [], "1m") for alert, changes in BROKEN.items() if alert not in ("KokTwoLeaders",)]
    path = tmp_path / "alerts.test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(FOLDER / "alerts.yml")], "evaluation_interval": "5m", "tests": groups}))
    promtool("test", "rules", path)
    control = yaml.safe_dump(
        {
            "rule_files": [str(FOLDER / "alerts.yml")],
            "evaluation_interval": "5m",
            "tests": [group("control", BROKEN["KokMemory"], [], "3h")],
        }
    )
    path.write_text(control)
    with pytest.raises(AssertionError, match="KokMemory"):
        promtool("test", "rules", path)


def test_should_name_only_metrics_that_exist_and_show_every_one(api_server: ApiServer) -> None:
    known = exposed(api_server)
    alerts = set().union(*(names_in(rule["expr"]) for rule in RULES))
    shown = set().union(*(names_in(query) for query in QUERIES))
    assert (alerts | shown) - KUBERNETES_OWN <= known
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known if name.startswith("kok_")} - {""}
    assert {name for name in families if not any(each.startswith(name) for each in shown)} == set()


def test_should_have_queries_that_prometheus_understands(tmp_path: Path) -> None:
    assert len(QUERIES) > 15
    rules = [{"record": f"dashboard:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_should_count_clusters_by_what_they_show() -> None:
    ready = {"spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "False"}]}}
    stalled = {"spec": {"paused": True}, "status": {"conditions": [{"type": "Stalled", "status": "True"}]}}
    found = {state: counted([ready, stalled, {"spec": {}}], state) for state in STATES}
    assert found == {"known": 3, "ready": 1, "stalled": 1, "paused": 1}


def test_should_count_rollouts_that_wait_for_a_person_but_not_those_that_have_ended() -> None:
    stalled = {"conditions": [{"type": "Stalled", "status": "True"}]}
    begun = {"startedAt": "2026-03-01T12:00:00Z"}
    rollouts = [{"status": each} for each in ({}, begun, begun | stalled, begun | stalled | {"endedAt": "2026-03-01T13:00:00Z"}, stalled)]
    assert [counted_rollouts(rollouts, state) for state in ("known", "running", "waiting")] == [5, 2, 1]

"""Builders for what the CLI looks at: a Cluster in trouble, pods, events, machines. Data for the tests beside this file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meta_cluster.cli.picture import Business, ClusterPicture

Manifest = dict[str, Any]
NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def at(seconds_ago: int) -> str:
    """RFC 3339 of that many seconds before NOW."""
    return datetime.fromtimestamp(NOW.timestamp() - seconds_ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str = "", *, ago: int = 120) -> Manifest:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1, "lastTransitionTime": at(ago)}


def component(name: str, ready: int, wanted: int, message: str = "") -> Manifest:
    return {"name": name, "ready": ready, "wanted": wanted, "message": message}


def cluster(*conditions: Manifest, components: tuple[Manifest, ...] = (), phase: str = "Ready", message: str = "") -> Manifest:
    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {
            "name": "demo",
            "namespace": "demo",
            "uid": "u1",
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": at(7200),
        },
        "spec": {"packageVersion": "kubernetes-1.35.4-r1", "endpoint": {"type": "NodePort", "host": "10.89.0.2", "port": 31443}},
        "status": {
            "phase": phase,
            "message": message,
            "kubernetesVersion": "v1.35.4",
            "endpoint": "https://10.89.0.2:31443",
            "machines": 2,
            "machinesReady": 1,
            "components": list(components),
            "conditions": list(conditions),
        },
    }


RELEASE: Manifest = {
    "apiVersion": "kok.dev/v1alpha1",
    "kind": "ClusterRelease",
    "metadata": {"name": "demo", "namespace": "demo"},
    "spec": {"current": {"packageVersion": "kubernetes-1.35.4-r1", "by": "Spec", "at": at(7100), "reason": "the wish"}},
}
ALL_UP = tuple(component(name, 1, 1) for name in ("etcd", "apiserver", "controller-manager", "scheduler", "machine-operator"))
PENDING_SENTENCE = "0/1 nodes are available: 1 Insufficient memory."


def pod(name: str, component_name: str, *, ready: bool = False, **status: Any) -> Manifest:
    labels = {"kok.dev/cluster": "demo", "app.kubernetes.io/component": component_name}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *status.pop("conditions", ())]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "demo", "labels": labels},
        "status": {"phase": "Running" if ready else "Pending", "conditions": conditions, **status},
    }


PENDING = pod("demo-apiserver-7c9f", "apiserver", conditions=[{"type": "PodScheduled", "status": "False", "message": PENDING_SENTENCE}])
CRASHING = pod(
    "demo-apiserver-7c9f",
    "apiserver",
    containerStatuses=[
        {
            "name": "apiserver",
            "ready": False,
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }
    ],
)
WAITING_FOR_SECRET = pod(
    "demo-apiserver-7c9f",
    "apiserver",
    containerStatuses=[{"name": "apiserver", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}],
)


def event(about: str, reason: str, message: str, *, count: int = 1, ago: int = 30, kind: str = "Warning") -> Manifest:
    return {
        "metadata": {"name": f"{about}.{reason}", "namespace": "demo"},
        "involvedObject": {"name": about},
        "type": kind,
        "reason": reason,
        "message": message,
        "count": count,
        "lastTimestamp": at(ago),
    }


FAILED_MOUNT = event(
    "demo-apiserver-7c9f", "FailedMount", 'MountVolume.SetUp failed for volume "tls": secret "demo-apiserver-tls" not found', count=22
)


def machine(name: str, *conditions: Manifest, phase: str = "Open", message: str = "", packages: tuple[Manifest, ...] = ()) -> Manifest:
    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "Machine",
        "metadata": {"name": name, "uid": name, "resourceVersion": "3", "generation": 1, "creationTimestamp": at(4000)},
        "spec": {"pool": "workers", "packages": ["kubelet-1.35.4-r1"], "desiredState": "InService"},
        "status": {"phase": phase, "message": message, "address": "10.89.0.11", "conditions": list(conditions), "packages": list(packages)},
    }


OPEN = machine(
    "demo-1", condition("Ready", "True", "Open"), condition("Reconciling", "False", "Open"), condition("Stalled", "False", "Open")
)
KEY_CHANGED = "demo-2 (10.89.0.12:22) shows ssh-ed25519 SHA256:abc, which is not one of the 1 pinned in pool workers"
UNREACHABLE = machine(
    "demo-2",
    condition("Ready", "False", "HostKeyChanged", KEY_CHANGED, ago=200),
    condition("Reconciling", "False", "HostKeyChanged"),
    condition("Stalled", "True", "HostKeyChanged", KEY_CHANGED),
    condition("HostReachable", "False", "HostKeyChanged", KEY_CHANGED),
    condition("PackagesReady", "Unknown", "NotLookedAt", "nothing is known of the host"),
    phase="Unreachable",
    message=KEY_CHANGED,
)
POOL: Manifest = {
    "apiVersion": "kok.dev/v1alpha1",
    "kind": "MachinePool",
    "metadata": {"name": "workers", "namespace": "demo", "creationTimestamp": at(5000)},
    "spec": {
        "clusterName": "demo",
        "hosts": [{"name": "demo-1"}, {"name": "demo-2"}, {"name": "demo-3"}],
        "packages": {"follow": "Cluster"},
    },
    "status": {"machines": 2, "ready": 1},
}

READY_CONDITIONS = (
    condition("Ready", "True", "Ready", "all components match kubernetes-1.35.4-r1", ago=7000),
    condition("Reconciling", "False", "Done"),
    condition("Stalled", "False", "Done"),
    condition("ApiserverReady", "True", "Up", "apiserver 1/1"),
    condition("ReleaseMatchesWish", "True", "Same", "kubernetes-1.35.4-r1 is authorised: the wish"),
)
WELL = ClusterPicture(cluster(*READY_CONDITIONS, components=ALL_UP), RELEASE, pools=(POOL,), business=Business(machines=(OPEN,)))

BROKEN_CONDITIONS = (
    condition("Ready", "False", "Repairing", "apiserver: 0 of 1 pods are ready", ago=130),
    condition("Reconciling", "True", "Repairing", "apiserver: 0 of 1 pods are ready"),
    condition("Stalled", "False", "Progressing"),
    condition("KeysReady", "True", "Sound", "root keys and leaves are sound"),
    condition("ApiserverReady", "False", "NotUp", "0 of 1 pods are ready"),
    condition("InsideReady", "Unknown", "NotRead", "the API server does not answer"),
)


def broken(*pods: Manifest, events: tuple[Manifest, ...] = (), business: Business | None = None) -> ClusterPicture:
    """Cluster demo with its apiserver down."""
    parts = tuple(component(p["name"], 0, 1, "0 of 1 pods are ready") if p["name"] == "apiserver" else p for p in ALL_UP)
    shown = cluster(*BROKEN_CONDITIONS, components=parts, phase="Repairing", message="apiserver: 0 of 1 pods are ready")
    return ClusterPicture(shown, RELEASE, pods, events, (POOL,), business or Business(machines=(OPEN, UNREACHABLE)))


def upgrading() -> ClusterPicture:
    """In the soak of a new minor."""
    waits = "kubernetes-1.34.4-r1 to kubernetes-1.35.4-r1, stage Soak: soaks for about 9 min more, emulating 1.34"
    hop = {"lower": "kubernetes-1.34.4-r1", "upper": "kubernetes-1.35.4-r1", "emulated": "1.34", "direction": "Up", "stage": "Soak"}
    release = {
        **RELEASE,
        "spec": {**RELEASE["spec"], "reached": "kubernetes-1.34.4-r1", "hop": {**hop, "startedAt": at(90), "stageSince": at(60)}},
    }
    ready = condition("Ready", "False", "Upgrading", waits, ago=60)
    matches = condition("ReleaseMatchesWish", "False", "Upgrading", waits, ago=60)
    shown = cluster(ready, matches, components=ALL_UP, phase="Upgrading", message=waits)
    return ClusterPicture(shown, release, pools=(POOL,), business=Business(machines=(OPEN,)))

"""What the tests of the Cluster controller stand on: an operator as a crashable thing, pods that come up, and business clusters that answer.

Real: the meta API server with kube-controller-manager (Deployments, StatefulSets, garbage collection), and a second API server that
answers for every business cluster. Simulated: only that pods of planes become Ready, as there is no kubelet.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from operators.adapters.catalogue_files import FileCatalogue
from operators.api.risk import Operation, Outcome
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.controller import ClusterController
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.steps import Done, Release, Stall, Step
from operators.domain.plane.view import PlaneView
from operators.engine.cache import ObjectCache
from operators.engine.metrics import Metrics
from operators.engine.queue import WorkQueue
from operators.engine.reconcile import GONE, LoopTools, ReconcileLoop
from operators.engine.recorder import EventRecorder
from operators.engine.sweep import Sweeper
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdConnector
from operators.ports.grants import Grant, GrantRequest, OpId, Waiting
from operators.ports.kube import Key, KubePort, Manifest, NotFound, Subresource, Watched
from tests.integration.cluster_operator.pod_status import shows

PACKAGE = "kubernetes-1.35.4-test"
SYSTEM = "kok-system"
PATIENCE = 180.0
"""Seconds; a machine may have much else to do. Nothing waits that long where all is right."""


def package_manifest(name: str = PACKAGE, version: str = "1.35.4") -> Manifest:
    """A ClusterPackageVersion of the catalogue's templates."""

    def image(component: str) -> str:
        return f"registry.k8s.io/{component}:v{version}"

    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "ClusterPackageVersion",
        "metadata": {"name": name},
        "spec": {
            "kubernetesVersion": version,
            "planeRevision": "r1",
            "components": {
                "etcd": {"version": "3.6.8", "image": "registry.k8s.io/etcd:3.6.8-0"},
                "apiserver": {"image": image("kube-apiserver")},
                "controllerManager": {"image": image("kube-controller-manager")},
                "scheduler": {"image": image("kube-scheduler")},
                "machineOperator": {"image": "registry.kok.dev/kok:test"},
            },
            "addons": {
                "coredns": {"image": "registry.k8s.io/coredns/coredns:v1.12.4"},
                "kubeProxy": {"image": image("kube-proxy")},
                "cni": {"name": "flannel", "image": "ghcr.io/flannel-io/flannel:v0.26.7"},
            },
        },
    }


def cluster_manifest(namespace: str, name: str = "demo", **spec: Any) -> Manifest:
    """A Cluster that may be deleted; `spec` is merged over what it needs."""
    wish = {
        "packageVersion": PACKAGE,
        "endpoint": {"type": "ClusterIP"},
        "network": {"podCIDR": "10.245.0.0/16", "serviceCIDR": "10.96.0.0/16"},
        "deletionProtection": False,
        "etcd": {"members": 1, "storageGiB": 1, "separateEvents": False},
    }
    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**wish, **spec},
    }


@dataclass
class OneBusinessServer:
    """KubeConnector: every kubeconfig leads to the same real API server; what it says is only checked to be one."""

    port: KubePort
    connected: set[str] = field(default_factory=set)

    def connect(self, name: str, kubeconfig: str) -> KubePort:
        assert yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["server"].startswith("https://")
        self.connected.add(name)
        return self.port

    async def forget(self, name: str) -> None:
        self.connected.discard(name)


class GenerousGrants:
    """GrantsPort that says yes and keeps a list; tests of the risk centre itself stand in tests/integration/risk."""

    def __init__(self) -> None:
        self.asked: list[GrantRequest] = []
        self.denies: dict[Operation, Waiting] = {}
        self.is_over = False
        """Whether what was given does not hold any more by the time it is verified."""

    async def ask(self, request: GrantRequest) -> Grant | Waiting:
        self.asked.append(request)
        if request.operation in self.denies:
            return self.denies[request.operation]
        return Grant(OpId(f"{request.workflow}-{request.step}"), request.namespace, "uid", request.operation, request.target)

    async def verify(self, grant: Grant, *, operation: Operation, target: str, left: float = 0.0) -> None:
        assert (grant.operation, grant.target.name) == (operation, target)
        if self.is_over:
            raise KokError(ErrorCode.GrantInvalid, f"grant {grant.op_id} is settled", "nothing was done")

    async def settle(self, grant: Grant, outcome: Outcome) -> None:
        return None


class Operator:
    """One process of the Cluster-Operator, with nothing in its memory: its cache is filled by sweeps, one key is passed again and again."""

    def __init__(self, kube: KubePort, business: OneBusinessServer, etcd: EtcdConnector | None = None) -> None:
        self.kube = kube
        metrics = Metrics()
        self.cache = ObjectCache(lambda key: None)
        for watched in (*kinds.watched_kinds(lambda name: ()), Watched(kinds.GRANT, lambda manifest: ())):
            self.cache.follow(watched)
        self._sweeper = Sweeper(self.cache, {"meta": kube}, metrics)
        self.grants = GenerousGrants()
        self.controller = ClusterController(
            World(kube, self.cache, business, FileCatalogue(), own_namespace=SYSTEM, grants=self.grants, etcd=etcd)
        )
        tools = LoopTools(kube, EventRecorder(kube, "kok-cluster-operator", "test"), metrics, keep=self.cache.put)
        self._loop = ReconcileLoop(self.controller, WorkQueue("cluster"), tools)
        self.steps: list[Step] = []
        self.failed = ""
        self._note_steps()

    def _note_steps(self) -> None:
        decide = self.controller.next_step

        def noted(view: PlaneView) -> Step:
            step = decide(view)
            self.steps.append(step)
            return step

        self.controller.next_step = noted  # type: ignore[method-assign]

    async def one_pass(self, key: Key, *, look: bool = True) -> float | None:
        """Sweep (all kinds at once, as each list waits for its turn on a busy machine), then one pass.

        Without a look it knows only what it wrote itself, as a process whose watches lag. A KokError of the pass is given back as a
        short wait, as the queue would do.
        """
        if look:
            await asyncio.gather(*(self._sweeper.sweep_kind(watched) for watched in self.cache.watched))
        try:
            return await self._loop.reconcile(key)
        except KokError as error:
            self.failed = str(error)
            return 0.1

    @property
    def last(self) -> Step:
        """What the last pass decided."""
        return self.steps[-1]


class Pods:
    """Brings pods of planes up: Running and Ready, as a kubelet would say. `broken` components never get there."""

    def __init__(self, kube: KubePort, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self.broken: dict[str, Manifest] = {}
        self.of_image: dict[str, Manifest] = {}
        """Image of the first container -> what its pods come to."""
        self.left_alone: set[str] = set()
        """Components whose pods somebody else brings up."""
        self.dead: set[str] = set()
        """Nodes whose kubelets say nothing any more."""

    async def tick(self) -> None:
        """Everything that is there now."""
        for pod in (await self._kube.list(kinds.POD, namespace=self._namespace)).items:
            component = pod["metadata"]["labels"].get("app.kubernetes.io/component", "")
            if component in self.left_alone or pod["spec"].get("nodeName") in self.dead:
                continue
            wanted = self.broken.get(component, SUCCEEDED if component == "snapshot" else READY)
            status = pod.get("status") or {}
            wanted = self.of_image.get(_image_of(pod), wanted)
            if shows(status, wanted) or pod["metadata"].get("deletionTimestamp"):
                continue
            ref = kinds.POD.ref(pod["metadata"]["name"], self._namespace)
            try:
                await self._kube.patch_json(ref, {"status": wanted}, subresource=Subresource.Status)
            except NotFound:
                continue


def _image_of(pod: Manifest) -> str:
    return str(pod["spec"]["containers"][0]["image"])


READY: Manifest = {
    "phase": "Running",
    "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ],
}
SUCCEEDED: Manifest = {
    "phase": "Succeeded",
    "conditions": [{"type": "Ready", "status": "False", "reason": "PodCompleted", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
}
PULLING: Manifest = {
    "phase": "Pending",
    "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    "containerStatuses": [
        {
            "name": "apiserver",
            "image": "x",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {
                "waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.k8s.io/kube-apiserver:v1.35.4"'}
            },
        }
    ],
}


SSH_KEY = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
"""A private key that opens nothing."""


@dataclass
class Stage:
    """A namespace with a Cluster in it, and everything to make passes over it."""

    admin: KubePort
    business: OneBusinessServer
    namespace: str
    name: str = "demo"
    etcd: EtcdConnector | None = None
    pods: Pods = field(init=False)

    def __post_init__(self) -> None:
        self.pods = Pods(self.admin, self.namespace)

    @property
    def key(self) -> Key:
        return kinds.key_of(self.namespace, self.name)

    def operator(self, kube: KubePort | None = None) -> Operator:
        """A fresh process, through that port."""
        return Operator(kube or self.admin, self.business, self.etcd)

    async def create(self, **spec: Any) -> None:
        await self.admin.create(cluster_manifest(self.namespace, self.name, **spec))

    async def cluster(self) -> Manifest:
        found = await self.admin.get(kinds.CLUSTER.ref(self.name, self.namespace))
        assert found, f"Cluster {self.name} is gone"
        return found

    async def condition(self, kind: str) -> Manifest:
        conditions = (await self.cluster()).get("status", {}).get("conditions", [])
        return next(each for each in conditions if each["type"] == kind)

    async def until(self, operator: Operator, reached: Callable[[Step], bool], patience: float = PATIENCE) -> Step:
        """Passes until a step is reached. Looks come late, as watches may: not while it acts, unless it repeats itself; but before it rests."""
        end, look = time.monotonic() + patience, True
        while time.monotonic() < end:
            after = await operator.one_pass(self.key, look=look)
            if after == GONE:
                raise AssertionError(f"the Cluster is gone; last steps: {[type(each).__name__ for each in operator.steps[-5:]]}")
            acted = after == 0.0
            if reached(operator.last) and (look or acted):
                return operator.last
            look = not acted or operator.last in operator.steps[-4:-1]
            await self.pods.tick()
            await asyncio.sleep(min(after or 0.0, 0.05))
        raise AssertionError(
            f"not reached in {patience:.0f} s; last: {type(operator.last).__name__} {operator.last.reason}; failed: {operator.failed}"
        )

    async def settle(self, operator: Operator, patience: float = PATIENCE) -> Step:
        """Passes until it is done."""
        return await self.until(operator, lambda step: isinstance(step, Done), patience)

    async def stalled(self, operator: Operator) -> Stall:
        step = await self.until(operator, lambda step: isinstance(step, Stall))
        assert isinstance(step, Stall)
        return step

    async def stalled_with(self, operator: Operator, code: ErrorCode, words: str) -> Stall:
        """Passes until it stalls for that, in those words."""
        step = await self.until(operator, lambda step: isinstance(step, Stall) and step.code is code and words in step.reason)
        assert isinstance(step, Stall)
        return step

    async def until_gone(self, operator: Operator, patience: float = PATIENCE) -> None:
        """Passes until the Cluster is no more."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if await operator.one_pass(self.key) == GONE:
                return
            if operator.steps and isinstance(operator.last, Release):
                await operator.one_pass(self.key, look=False)
                assert "clusters.kok.dev" not in operator.failed, "a pass that has not heard yet that the Cluster is gone"
            await self.pods.tick()
            await asyncio.sleep(0.05)
        raise AssertionError(f"not gone in {patience:.0f} s; last: {operator.last}")

    async def clear(self) -> None:
        """Delete the namespace, and let its Clusters go without an operator: every sweep of whatever comes after would read what is left."""
        await self.admin.delete(kinds.NAMESPACE.ref(self.namespace))
        for cluster in (await self.admin.list(kinds.CLUSTER, namespace=self.namespace)).items:
            with suppress(NotFound):
                await self.admin.patch_json(
                    kinds.CLUSTER.ref(cluster["metadata"]["name"], self.namespace), {"metadata": {"finalizers": None}}
                )

    async def secret(self, name: str, namespace: str = "") -> dict[str, str]:
        found = await self.admin.get(kinds.SECRET.ref(name, namespace or self.namespace))
        return (found or {}).get("data") or {}

    async def snapshot(self) -> dict[str, Manifest]:
        """Every object of the Cluster, without what differs from run to run."""
        found: dict[str, Manifest] = {}
        uid = (await self.cluster())["metadata"]["uid"]
        for kind in (*kinds.CHILDREN, kinds.RELEASE, *kinds.OUTSIDE_CHILDREN):
            selector = f"kok.dev/cluster={self.name}"
            namespace = "" if kind in kinds.OUTSIDE_CHILDREN else self.namespace
            for each in (await self.admin.list(kind, namespace=namespace, selector=selector)).items:
                if namespace or self.namespace in each["metadata"]["name"]:
                    found[f"{kind.kind}/{each['metadata']['name']}".replace(self.namespace, "NS")] = _timeless(each, self.namespace, uid)
        sealed = await self.admin.get(kinds.SECRET.ref(f"root-keys.{self.namespace}.{self.name}", SYSTEM))
        found["sealed"] = _timeless(sealed or {"metadata": {}}, self.namespace, uid)
        return found


VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")


def _timeless(manifest: Manifest, namespace: str, uid: str) -> Manifest:
    """Names, labels and specs; of Secrets only which keys they hold, of digests nothing."""
    result = copy.deepcopy(manifest)
    result.pop("status", None)
    for field_name in VOLATILE:
        result["metadata"].pop(field_name, None)
    if manifest.get("kind") == "Secret":
        result["data"] = {key: len(base64.b64decode(value)) > 0 for key, value in (manifest.get("data") or {}).items()}
    if manifest.get("kind") == "ClusterRelease":
        result["spec"]["current"].pop("at")
        for each in result["spec"].get("history", ()):
            each.pop("at")
    return _without_digests(result, {namespace: "NS", uid: "UID"})


def _without_digests(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _without_digests(inner, names) for key, inner in value.items() if key not in VOLATILE_KEYS}
    if isinstance(value, list):
        return [_without_digests(inner, names) for inner in value]
    if isinstance(value, str):
        for name, stand_in in names.items():
            value = value.replace(name, stand_in)
    return value


VOLATILE_KEYS = frozenset(
    {
        "kok.dev/applied-hash",
        "kok.dev/secrets",
        "clusterIP",
        "clusterIPs",
        "nodePort",
        "deployment.kubernetes.io/revision",
        "volumeName",
        "clusterID",
    }
)

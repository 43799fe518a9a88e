"""A Machine-Operator in this process against two real API servers, with simulated hosts, real kubelet certificates and a risk centre that a test holds."""

from __future__ import annotations

import asyncio
import base64
import copy
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from operators.adapters.catalogue_files import FileCatalogue
from operators.adapters.grants_kube import KubeGrants
from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.adapters.kube_danger import KubeDanger
from operators.adapters.sim_lease import SimLease
from operators.adapters.sim_ssh import SimFleet, SimHost, SimSsh
from operators.domain.machine.view import Times
from operators.engine.elector import ElectorConfig
from operators.engine.process import Process, ProcessConfig
from operators.engine.process import Servers as ProcessServers
from operators.machine_operator import kinds
from operators.machine_operator.assembly import Assembly, Outside, assemble
from operators.machine_operator.settings import Settings
from operators.machine_operator.world import FIELD_MANAGER, Identity, Servers
from operators.ports.ansible import AnsiblePort
from operators.ports.kube import KubePort, Manifest
from operators.ports.ssh import SshPort
from tests.integration.api_server import ApiServer
from tests.integration.kube_proxies import RecordingKube
from tests.integration.machine_operator.kubelet import LivingAnsible

KEY = "ssh-ed25519 AAAA"
NUMBERS = itertools.count(256)
"""Each rig has addresses of its own: who claims a host keeps it after the test."""


class FastSettings(Settings):
    """Seconds that a test can wait for."""

    @property
    def times(self) -> Times:
        return Times(
            probe=self.probe_seconds, retry_first=0.3, retry_cap=2.0, drain_deadline=self.drain_seconds, grant_poll=0.3, migrate_grace=0.2
        )


class Centre:
    """Answers OperationGrants while `says_yes`; what is not answered waits."""

    def __init__(self, kube: KubePort, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self.says_yes = True
        self.granted: list[str] = []

    async def serve(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            if not self.says_yes:
                continue
            for grant in (await self._kube.list(kinds.GRANT, namespace=self._namespace)).items:
                if not (grant.get("status") or {}).get("decision"):
                    await self._grant(grant)

    async def _grant(self, grant: Manifest) -> None:
        now = datetime.now(UTC)
        status = {"decision": "Granted", "message": "granted", "decidedAt": _stamp(now), "expiresAt": _stamp(now + timedelta(minutes=15))}
        await self._kube.patch_status(kinds.GRANT.ref(grant["metadata"]["name"], self._namespace), status)
        self.granted.append(f"{grant['spec']['operation']} {grant['spec']['target']['name']}")


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Rig:
    """One cluster with its namespace. `start` and `stop` the operator as often as you like; the world stays."""

    def __init__(self, meta: ApiServer, business: ApiServer, namespace: str) -> None:
        self.meta_server, self.business_server, self.namespace = meta, business, namespace
        self.tag, self.number = uuid4().hex[:5], next(NUMBERS)
        self._clients: list[KubeClient] = []
        self.meta = self._client(meta, "test")
        self.business = self._client(business, "test")
        self.meta_record = RecordingKube(self._client(meta, FIELD_MANAGER))
        self.business_record = RecordingKube(self._client(business, FIELD_MANAGER))
        self.fleet = SimFleet()
        self.ansible = LivingAnsible(self.fleet, grants=KubeGrants(self.meta))
        self.real: tuple[SshPort, AnsiblePort] | None = None
        """What reaches hosts that are none of the simulated ones."""
        self.centre = Centre(self.meta, namespace)
        self.lease = SimLease()
        self.assembly: Assembly | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.starts = 0
        self.probe_seconds = 1.0
        self.drain_seconds = 900.0

    def _client(self, server: ApiServer, manager: str) -> KubeClient:
        client = KubeClient(kubeconfig_credentials(server.kubeconfig("test-admin", groups=["system:masters"])), field_manager=manager)
        self._clients.append(client)
        return client

    def name(self, host: str) -> str:
        return f"{host}-{self.tag}"

    def host(self, name: str, number: int) -> dict[str, Any]:
        """A host that exists, as a pool lists it."""
        address = f"172.{self.number // 256}.{self.number % 256}.{number}"
        if (address, 22) not in self.fleet.hosts:
            self.fleet.add(self.name(name), address, host_key=KEY)
        return {"name": self.name(name), "address": address, "hostKeys": [KEY]}

    def sim(self, host: dict[str, Any]) -> SimHost:
        return self.fleet.hosts[host["address"], 22]

    async def prepare(self, **spec: Any) -> None:
        """Catalogue, Cluster, its release and its SSH key."""
        for manifest in [*packages(), cpv(), cluster(self.namespace, self.business_server.url, **spec)]:
            await self.meta.apply(manifest)
        await self.meta.apply(cluster_release(self.namespace))
        key = base64.b64encode(b"-----BEGIN OPENSSH PRIVATE KEY-----").decode()
        secret = {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": key}}
        await self.meta.apply({**_head("v1", "Secret", "demo-ssh", self.namespace), **secret})

    async def pool(self, hosts: list[dict[str, Any]], name: str = "workers", **spec: Any) -> Manifest:
        return await self.meta.apply(pool(self.namespace, hosts, name, **spec))

    async def start(self, *, meta: KubePort | None = None, business: KubePort | None = None) -> Assembly:
        """Run an operator; the ports may be such that die."""
        meta, business = meta or self.meta_record, business or self.business_record
        self.starts += 1
        ca = kubeconfig_credentials(self.business_server.kubeconfig("x", groups=[])).ca_pem
        identity = Identity(self.namespace, "demo", ca)
        settings = FastSettings(
            namespace=self.namespace,
            cluster="demo",
            business_kubeconfig="",
            probe_seconds=self.probe_seconds,
            drain_seconds=self.drain_seconds,
        )
        process: Process
        meta_kinds = kinds.meta_kinds(lambda: process.cache, self.namespace, identity.requester)
        business_kinds = kinds.business_kinds(self.namespace)
        logins = [
            kubeconfig_credentials(s.kubeconfig("test-admin", groups=["system:masters"])) for s in (self.meta_server, self.business_server)
        ]
        watches = (KopfWatch(logins[0], meta_kinds, namespaces=(self.namespace,)), KopfWatch(logins[1], business_kinds))
        config = ProcessConfig(ElectorConfig(f"test#{self.starts}", lease_seconds=600, renew_deadline=400), host="127.0.0.1", port=0)
        process = Process(config, ProcessServers({"meta": meta, "business": business}, watches, self.lease))
        process.watch(*meta_kinds, *business_kinds)
        grants = KubeGrants(meta)
        ssh, ansible = self.real or (SimSsh(self.fleet), self.ansible)
        outside = Outside(ssh, ansible, grants, KubeDanger(business, grants), FileCatalogue())
        self.assembly = assemble(process, identity, Servers(meta, business), outside=outside, settings=settings)
        self._tasks = [
            asyncio.create_task(self.assembly.serve()),
            asyncio.create_task(process.run()),
            asyncio.create_task(self.centre.serve()),
        ]
        return self.assembly

    async def stop(self) -> None:
        """End the operator, in whatever state it is."""
        if self.assembly:
            self.assembly.process.stop()
            serving, running, centre = self._tasks
            await asyncio.wait({running}, timeout=15)
            for task in self._tasks:
                task.cancel()
            await asyncio.wait({serving, centre})
            await asyncio.wait({running}, timeout=15)
            await self.assembly.process.elector.release()  # whatever still hangs: a lease that runs out would end pytest
            self.assembly = None

    @property
    def running(self) -> asyncio.Task[Any]:
        return self._tasks[1]

    async def close(self) -> None:
        await self.stop()
        await self.ansible.close()
        await self.empty_business()
        for client in self._clients:
            await client.close()

    async def empty_business(self) -> None:
        """Nothing of this test is left for the next."""
        for kind in (kinds.MACHINE_KIND, kinds.NODE, kinds.CSR):
            for found in (await self.business.list(kind)).items:
                await self.business.delete(kind.ref(found["metadata"]["name"]))

    async def machine(self, host: dict[str, Any]) -> Manifest:
        found = await self.business.get(kinds.MACHINE_KIND.ref(host["name"]))
        return found or {}

    async def node(self, host: dict[str, Any]) -> Manifest | None:
        return await self.business.get(kinds.NODE.ref(host["name"]))

    async def until(self, check: Callable[[], Awaitable[Any]], *, seconds: float = 90.0) -> Any:
        """What `check` returns as soon as it is true; else AssertionError with the state of everything."""
        pause = 0.05
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if result := await check():
                        return result
                    await asyncio.sleep(pause)
                    pause = min(0.2, pause * 1.3)  # each look is requests, which take the operator's time
        except TimeoutError as error:
            raise AssertionError(await self.picture()) from error

    async def picture(self) -> str:
        """Everything, for a failed test."""
        lines = []
        for kube, kind, namespace in (
            (self.meta, kinds.MACHINE_POOL, self.namespace),
            (self.meta, kinds.POOL_RELEASE, self.namespace),
            (self.meta, kinds.HOST_CLAIM, ""),
            (self.meta, kinds.GRANT, self.namespace),
            (self.business, kinds.MACHINE_KIND, ""),
            (self.business, kinds.NODE, ""),
            (self.business, kinds.CSR, ""),
        ):
            for found in (await kube.list(kind, namespace=namespace)).items:
                lines.append(f"{kind.kind} {found['metadata']['name']}: {found.get('spec')} {found.get('status')}"[:1500])
        return "\n" + "\n".join(lines) + f"\nruns: {[job.ident for job in self.ansible.jobs]}"

    async def is_open(self, *hosts: dict[str, Any]) -> bool:
        """Every node is Ready and untainted, every Machine Ready."""
        for host in hosts:
            node, machine = await self.node(host), await self.machine(host)
            taints = ((node or {}).get("spec") or {}).get("taints") or []
            if node is None or any(taint["key"] == "kok.dev/not-ready" for taint in taints):
                return False
            if condition(machine, "Ready").get("status") != "True":
                return False
        return True


def condition(manifest: Manifest, type_: str) -> dict[str, Any]:
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return next((copy.deepcopy(c) for c in conditions if c["type"] == type_), {})


def _head(api_version: str, kind: str, name: str, namespace: str = "") -> Manifest:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def packages() -> list[Manifest]:
    """Two versions of a kubelet, a runtime, a sysctl profile."""
    unit = {"name": "kubelet.service", "content": "[Service]\nExecStart=/usr/local/bin/kubelet --node={{ node.name }}\n"}
    return [
        mpv("containerd-1-r1", "containerd", order=10, units=[{"name": "containerd.service"}]),
        mpv("kubelet-1-r1", "kubelet", order=30, units=[unit]),
        mpv("kubelet-1-r2", "kubelet", order=30, units=[unit], effect={"version": "Restart"}),
        mpv("kubelet-2-r1", "kubelet", order=30, units=[unit], effect={"version": "Drain"}),
        mpv("sysctl-1-r1", "sysctl", order=5, sysctls={"net.ipv4.ip_forward": "1"}),
    ]


def mpv(name: str, component: str, **spec: Any) -> Manifest:
    version = name.rsplit("-", 2)[1]
    return {**_head("kok.dev/v1alpha1", "MachinePackageVersion", name), "spec": {"component": component, "version": version, **spec}}


def cpv() -> Manifest:
    image = {"image": "registry.kok.dev/x:1"}
    components = dict.fromkeys(("apiserver", "controllerManager", "scheduler", "machineOperator"), image)
    addons = {"coredns": image, "kubeProxy": image, "cni": {"name": "flannel", **image}}
    spec = {
        "kubernetesVersion": "1.35.4",
        "planeRevision": "r1",
        "components": {**components, "etcd": {"version": "3.6.8", **image}},
        "addons": addons,
        "machinePackages": ["containerd-1-r1", "kubelet-1-r1"],
    }
    return {**_head("kok.dev/v1alpha1", "ClusterPackageVersion", "test-1"), "spec": spec}


def cluster(namespace: str, url: str, **spec: Any) -> Manifest:
    port = int(url.rpartition(":")[2])
    base = {
        "packageVersion": "test-1",
        "endpoint": {"type": "ClusterIP", "host": "127.0.0.1", "port": port},
        "machineAccess": {"sshKeySecretName": "demo-ssh"},
        "deletionProtection": False,
        **spec,
    }
    return {**_head("kok.dev/v1alpha1", "Cluster", "demo", namespace), "spec": base}


def cluster_release(namespace: str) -> Manifest:
    current = {"packageVersion": "test-1", "by": "Spec", "at": "2026-01-01T00:00:00Z"}
    return {**_head("kok.dev/v1alpha1", "ClusterRelease", "demo", namespace), "spec": {"current": current}}


def pool(namespace: str, hosts: list[dict[str, Any]], name: str = "workers", **spec: Any) -> Manifest:
    base = {"clusterName": "demo", "hosts": hosts, "packages": {"follow": "Cluster"}, **spec}
    return {**_head("kok.dev/v1alpha1", "MachinePool", name, namespace), "spec": base}

"""A kubelet for tests: real certificate requests and a real Node at a real API server, on top of a simulated host. Never part of the product."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import Credentials, kubeconfig_credentials
from operators.adapters.sim_ansible import SimAnsible
from operators.adapters.sim_ssh import SimFleet, SimHost
from operators.machine_operator.kinds import CSR, NODE
from operators.ports.ansible import AnsibleJob, HostOutcome, JobAction
from operators.ports.grants import GrantsPort
from operators.ports.kube import KubeError, Subresource

CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"


def csr_pem(common_name: str, *, organization: str = "system:nodes") -> tuple[bytes, str]:
    """A request and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return request.public_bytes(serialization.Encoding.PEM), pem.decode()


def csr_manifest(name: str, pem: bytes, *, signer: str = CLIENT) -> dict[str, object]:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": f"{name}-"},
        "spec": {"signerName": signer, "request": base64.b64encode(pem).decode(), "usages": ["digital signature", "client auth"]},
    }


class SimKubelet:
    """Registers its node with what the job brought."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        self.client: KubeClient | None = None

    async def bootstrap(self) -> None:
        """Token -> certificate -> Node Ready."""
        text = self.host.bootstrap_kubeconfig
        server = yaml.safe_load(text)["clusters"][0]["cluster"]["server"]
        client = KubeClient(kubeconfig_credentials(text), field_manager="kubelet")
        pem, key = csr_pem(f"system:node:{self.host.name}")
        created = await client.create(csr_manifest("node-csr", pem))
        ref = CSR.ref(created["metadata"]["name"])
        certificate = await self._certificate(client, ref)
        await client.close()
        ca = kubeconfig_credentials(text).ca_pem
        self.client = KubeClient(Credentials(server, ca, certificate, key), field_manager="kubelet")
        self.host.kubelet_credentials = True
        await self.register()

    async def _certificate(self, client: KubeClient, ref: object) -> str:
        while True:
            found = await client.get(ref)  # type: ignore[arg-type]
            text = ((found or {}).get("status") or {}).get("certificate")
            if text:
                return base64.b64decode(text).decode()
            await asyncio.sleep(0.1)

    async def register(self) -> None:
        """The Node with its taint, then Ready."""
        assert self.client is not None
        taints = [{"key": "kok.dev/not-ready", "effect": "NoSchedule"}]
        manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.host.name}, "spec": {"taints": taints}}
        if await self.client.get(NODE.ref(self.host.name)) is None:
            await self.client.create(manifest)
        await self.report(ready=True)

    async def report(self, *, ready: bool) -> None:
        """Post the node's status."""
        assert self.client is not None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = "True" if ready else "False"
        words = "kubelet is posting ready status" if ready else "container runtime is down"
        condition = {"type": "Ready", "status": status, "reason": "KubeletReady" if ready else "KubeletNotReady", "message": words}
        condition |= {"lastHeartbeatTime": now, "lastTransitionTime": now}
        body = {"status": {"conditions": [condition], "nodeInfo": node_info(self.host.boot_id)}}
        await self.client.patch_json(NODE.ref(self.host.name), body, subresource=Subresource.Status)


def node_info(boot_id: str) -> dict[str, str]:
    fields = ("architecture", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion", "machineID")
    return {**dict.fromkeys((*fields, "operatingSystem", "osImage", "systemUUID"), "sim"), "bootID": boot_id}


class LivingAnsible(SimAnsible):
    """SimAnsible whose hosts come alive: a kubelet that was brought a token registers."""

    def __init__(self, fleet: SimFleet, *, grants: GrantsPort) -> None:
        super().__init__(fleet, grants=grants)
        self.kubelets: dict[str, SimKubelet] = {}
        self.seconds = 0.0
        self.slot = asyncio.Event()
        """Clear it, and runs wait as they do for others' runs and for artifacts."""
        self.slot.set()
        self.queued: list[AnsibleJob] = []
        """What was given to be run, in order."""
        self._fleet_of_tests = fleet
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, job: AnsibleJob) -> dict[str, HostOutcome]:
        self.queued.append(job)
        await self.slot.wait()
        outcomes = dict(await super().run(job))
        await asyncio.sleep(self.seconds)
        for work in job.hosts:
            host = self._fleet_of_tests.hosts.get((work.target.address, work.target.port))
            if job.action is JobAction.Apply and work.bootstrap_kubeconfig and host and "kubelet" in host.installed:
                self._start(SimKubelet(host))
        return outcomes

    def _start(self, kubelet: SimKubelet) -> None:
        self.kubelets[kubelet.host.name] = kubelet
        task = asyncio.create_task(self._live(kubelet))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, kubelet: SimKubelet) -> None:
        try:
            await kubelet.bootstrap()
        except KubeError as error:
            print(f"kubelet of {kubelet.host.name}: {error}")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for kubelet in self.kubelets.values():
            if kubelet.client:
                await kubelet.client.close()

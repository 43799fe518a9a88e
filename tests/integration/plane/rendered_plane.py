"""A plane as the templates render it, run as processes on loopback: the pods' own arguments, environment, volumes and keys.

Only what a process cannot have is exchanged: mount paths become folders, Service names and 0.0.0.0 become addresses of 127.0.0.0/8, one per pod.
"""

from __future__ import annotations

import base64
import json
import random
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

from operators.api import Cluster, ClusterPackageVersion
from operators.domain.plane.certificates import LeafForm, digest_of, leaf_specs, root_specs
from operators.domain.plane.desired import desired_plane, inside
from operators.domain.plane.inputs import MOST_MEMBERS, Manifest, PlaneEndpoint, PlaneInputs, PlaneTunnel
from operators.services.pki import Issued, issue_leaf, new_root
from tests.integration.api_server import KUBECTL, Child, asset
from tests.unit.operators.domain.plane.rendered import a_package, templates

BINARIES = {"etcd": "etcd-3.6.8", "kube-apiserver": "kube-apiserver-1.35.4", "kube-controller-manager": "kube-controller-manager-1.35.4"}
BINARIES["kube-scheduler"] = "kube-scheduler-1.35.4"
BINARIES |= {"/proxy-server": "konnectivity-server-0.34.0", "/proxy-agent": "konnectivity-agent-0.34.0"}
LISTEN_AT = {"/proxy-server": tuple(f"--{what}-bind-address" for what in ("server", "agent", "admin", "health"))}
"""Flags for those that listen everywhere, or on 127.0.0.1, if nobody tells them."""
PATIENCE = 90.0
PodSpec = dict[str, Any]


class RenderedPlane:
    """One plane; `close` ends its processes and removes its folder."""

    def __init__(self, cluster: Cluster) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kok-test-plane-"))
        self._net = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self.members = {f"demo-etcd-{n}": f"{self._net}.{n + 1}" for n in range(MOST_MEMBERS)}
        self.address = f"{self._net}.10"
        bare = PlaneInputs(
            cluster, a_package(), PlaneEndpoint(self.address, 6443, ("192.0.2.10",)), tunnel=PlaneTunnel(self.address, 8132)
        )  # the API takes no loopback address there
        self.secrets = self._issue(bare)
        self.inputs = replace(bare, secret_digests={name: digest_of(secret.data) for name, secret in self.secrets.items()})
        self.components = desired_plane(self.inputs, templates()).components
        self.children: dict[str, Child] = {}
        self.binaries = dict(BINARIES)
        """First word of a container's command -> the asset that runs in its place."""

    def _issue(self, inputs: PlaneInputs) -> Mapping[str, Issued]:
        now = datetime.now(UTC)
        roots = {spec.secret: new_root(spec, now) for spec in root_specs(inputs)}
        leaves = {}
        for spec in leaf_specs(inputs):
            if spec.secret == "demo-etcd-tls":
                spec = replace(spec, ip_addresses=(*spec.ip_addresses, *self.members.values()))
            if spec.form is LeafForm.Kubeconfig:
                spec = replace(spec, server=f"https://{self.address}:6443")
            leaves[spec.secret] = issue_leaf(spec, roots[spec.signer].data, now)
        return roots | leaves

    def pod(self, component: str) -> PodSpec:
        """The pod of a component's workload."""
        (workload,) = (m for m in self.components[component] if m["kind"] in ("StatefulSet", "Deployment"))
        return dict(workload["spec"]["template"]["spec"])

    def start_member(self, name: str, record: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the member's init container, and etcd itself if that lets it."""
        pod = self.pod("etcd")
        home = self._mount(name, pod)
        for key, value in (record or {}).items():
            (home / "etc/kok/bootstrap" / key).write_text(value)
        start = pod["initContainers"][0]
        environment = {entry["name"]: self._local(entry.get("value", name), home, self.members[name]) for entry in start["env"]}
        assert start["command"][0] == "python3"
        done = subprocess.run([sys.executable, *start["command"][1:]], env=environment, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            self._run(name, pod, home, self.members[name])
        return done

    def start(self, component: str) -> None:
        """Run the first container of a Deployment."""
        pod = self.pod(component)
        self._run(component, pod, self._mount(component, pod), self.address)

    def change_to(self, package: ClusterPackageVersion, *, emulated: str = "") -> None:
        """Render it anew from that package, and run its binaries from the next start on."""
        self.inputs = replace(self.inputs, package=package, emulated=emulated)
        self.components = desired_plane(self.inputs, templates()).components
        version = package.spec.kubernetes_version
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            self.binaries[name] = f"{name}-{version}"

    def run_once(self, name: str, pod: PodSpec) -> Path:
        """Run the containers of a pod that ends, one after the other; its folder. Fails with what a container said that failed."""
        home = self._mount(name, pod)
        for container in (*pod["initContainers"], *pod["containers"]):
            words = [self._local(word, home, self.address) for word in container["command"]]
            command = [sys.executable if words[0] == "python3" else asset(f"{words[0]}-3.6.8"), *words[1:]]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, f"{container['name']}: {done.stdout}{done.stderr}"
        return home

    def data_of(self, member: str) -> Path:
        """A member's volume."""
        return self.folder / member / "var/lib/etcd"

    def kill(self, name: str) -> None:
        """As when its node dies."""
        self.children.pop(name).kill()

    def probe(self, name: str, kind: str, address: str) -> int:
        """The HTTP status of a probe of the pod's container, asked as the kubelet asks: anonymously, any certificate; 0 without an answer."""
        pod = self.pod("etcd" if name in self.members else name)
        container = pod["containers"][0]
        probe = container[kind]["httpGet"]
        port = next(entry["containerPort"] for entry in container["ports"] if entry["name"] == probe["port"])
        return self.get(f"{probe['scheme'].lower()}://{address}:{port}{probe['path']}")

    def get(self, url: str) -> int:
        """Status of an anonymous GET; 0 without an answer."""
        context = ssl._create_unverified_context() if url.startswith("https") else None
        try:
            with urllib.request.urlopen(url, timeout=5, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        """Until it holds; fails with the log of a process that ended."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            for child in self.children.values():
                child.check()
            assert time.monotonic() < deadline, f"{what} did not come true; logs are in {self.folder}"
            time.sleep(0.1)

    def kubectl(self, secret: str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """kubectl with the kubeconfig of that Secret."""
        path = self.folder / f"{secret}.kubeconfig"
        path.write_bytes(base64.b64decode(self.secrets[secret].data["kubeconfig"]))
        command = [asset(KUBECTL), f"--kubeconfig={path}", *words]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)

    def inside(self) -> tuple[Manifest, ...]:
        """What goes into the cluster."""
        return inside(self.inputs, templates())

    def close(self) -> None:
        """End and remove everything."""
        for child in reversed(self.children.values()):
            child.kill()
        rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, pod: PodSpec, home: Path, address: str) -> None:
        container = pod["containers"][0]
        words = [*container["command"], *container.get("args", ())]
        argv = [asset(self.binaries[words[0]]), *(self._local(word, home, address) for word in words[1:])]
        argv += [f"{flag}={address}" for flag in LISTEN_AT.get(words[0], ())]
        self.children[name] = Child(name, argv, self.folder)
        self.children[name].start()

    def _local(self, text: str, home: Path, address: str) -> str:
        for folder in ("/etc/kok", "/run/kok", "/var/lib/etcd", "/snapshots"):
            text = text.replace(folder, f"{home}{folder}")
        for member, at in self.members.items():
            text = text.replace(f"{member}.demo-etcd-peer.demo.svc", at)
        text = text.replace("demo-etcd.demo.svc", self.members["demo-etcd-0"]).replace("demo-konnectivity.demo.svc", self.address)
        return text.replace("0.0.0.0", address)

    def _mount(self, name: str, pod: PodSpec) -> Path:
        """The pod's volumes as folders, with exactly the keys that it mounts."""
        home = self.folder / name
        mounts = [
            mount for container in (*pod.get("initContainers", ()), *pod["containers"]) for mount in container.get("volumeMounts", ())
        ]
        for mount in mounts:
            folder = home / mount["mountPath"].lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            volume = next((volume for volume in pod["volumes"] if volume["name"] == mount["name"]), {})
            for path, content in self._files_of(volume).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                is_text = "configMap" in volume
                address = self.members.get(name, self.address)
                (folder / path).write_bytes(self._local(content.decode(), home, address).encode() if is_text else content)
        return home

    def _files_of(self, volume: Mapping[str, Any]) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        if "secret" in volume:
            data = self.secrets[volume["secret"]["secretName"]].data
            files |= {key: base64.b64decode(value) for key, value in data.items()}
        for source in volume.get("projected", {}).get("sources", ()):
            data = self.secrets[source["secret"]["name"]].data
            files |= {item["path"]: base64.b64decode(data[item["key"]]) for item in source["secret"]["items"]}
        if "configMap" in volume and not volume["configMap"].get("optional"):
            (found,) = (
                m
                for ms in self.components.values()
                for m in ms
                if m["kind"] == "ConfigMap" and m["metadata"]["name"] == volume["configMap"]["name"]
            )
            files |= {key: value.encode() for key, value in found["data"].items()}
        return files


def documents(manifests: tuple[Manifest, ...]) -> str:
    """For `kubectl apply -f -`."""
    return "\n---\n".join(json.dumps(manifest) for manifest in manifests)

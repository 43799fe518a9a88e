"""The demo's stages and breakages, each timed by what a client sees. Called by `python -m meta_cluster.demo`; leaves the fleet running."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.demo import fleet
from meta_cluster.demo.kubectl import Kubectl, wait_until
from meta_cluster.demo.timeline import Breakage, Stage, stage_line
from meta_cluster.lab import layout
from operators.errors import ErrorCode, KokError

ENDPOINT_PORT = 31443
KUBECTL = "kubectl-1.35.4"
KOK = Path(sys.executable).parent / "kok"


HEALED_WITHIN = 180.0
STEADY = 12.0
"""Seconds. A kubelet tells every ten what its container runtime is like: an open node right after a start may close once more."""
"""Seconds after which the demo says that something did not heal."""


def kok(*arguments: str, timeout: float = 3600) -> str:
    """Run `kok` as a person would, its progress on our stderr; returns its standard output."""
    done = subprocess.run([str(KOK), *arguments], stdout=subprocess.PIPE, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise KokError(ErrorCode.LabFailed, f"kok {' '.join(arguments)} ended with {done.returncode}", "its last lines above say why")
    return done.stdout


@dataclass(slots=True)
class Demo:
    """The fleet while it is being brought up: what later stages need of earlier ones, and the times."""

    kubectl_binary: Path = Path("kubectl")
    stages: list[Stage] = field(default_factory=list)
    breakages: list[Breakage] = field(default_factory=list)
    lab: dict[str, Any] = field(default_factory=dict)

    @property
    def meta(self) -> Kubectl:
        """kubectl against the meta cluster."""
        return Kubectl(self.kubectl_binary, Path(self.lab["kubeconfig"]))

    @property
    def business(self) -> Kubectl:
        """kubectl against the business cluster, with the kubeconfig that `kok kubeconfig` prints."""
        return Kubectl(self.kubectl_binary, layout.state_folder() / f"{fleet.CLUSTER}.kubeconfig")

    def stage(self, name: str, what: str, began: float) -> None:
        """Record and print one stage that ended now."""
        self.stages.append(Stage(name, what, time.monotonic() - began))
        print(stage_line(self.stages[-1]), flush=True)


def bring_up(demo: Demo) -> None:
    """Every stage in order; each finds its work done when it is run again."""
    for stage in (_lab, _cluster, _machines, _web):
        stage(demo)


def _lab(demo: Demo) -> None:
    began = time.monotonic()
    kok("lab", "up")
    kok("lab", "host", "add", *fleet.HOSTS)
    demo.lab = json.loads(kok("lab", "status", "-o", "json"))
    demo.kubectl_binary = AssetsFolder().get(KUBECTL)
    link_kubectl(demo.kubectl_binary)
    operators = demo.meta.items("deployments", "-n", "kok-system")
    ready = ", ".join(f"{one['metadata']['name']} {one['status'].get('readyReplicas', 0)}/{one['spec']['replicas']}" for one in operators)
    demo.stage("meta cluster", f"{demo.lab['node']}  {ready}", began)


def link_kubectl(binary: Path) -> None:
    """Put kubectl beside kok (in .venv/bin), so that what the README types works on a machine that has none."""
    link = KOK.with_name("kubectl")
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(binary)


def _cluster(demo: Demo) -> None:
    began = time.monotonic()
    key = Path(demo.lab["sshKey"]).read_text()
    wish = fleet.cluster(package_version(demo), host=demo.lab["node"], port=ENDPOINT_PORT)
    demo.meta.apply(fleet.namespace(), fleet.ssh_secret(key), wish)
    wait_until(
        "kubeconfig of cluster demo", lambda: _has_kubeconfig(demo), timeout=180, tell=lambda: _message(demo.meta, "clusters.kok.dev")
    )
    _fetch_kubeconfig(demo)
    wait_until("first write to cluster demo", lambda: _can_write(demo), timeout=180, tell=lambda: _message(demo.meta, "clusters.kok.dev"))
    demo.stage("cluster demo", f"first authorised write; {from_home(demo.business.kubeconfig)}", began)


def from_home(path: Path) -> str:
    """`~/...` where it lies in the home folder."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def package_version(demo: Demo) -> str:
    """The one a running demo has (a Cluster's version is not edited by running the demo again), else the lab's newest."""
    found = demo.meta.get("clusters.kok.dev", fleet.CLUSTER, "-n", fleet.NAMESPACE)
    return str(found["spec"]["packageVersion"] if found else demo.lab["packageVersion"])


def _has_kubeconfig(demo: Demo) -> bool:
    """Whether there is one to print: asking a Secret costs a tenth of starting `kok`, and here it is the plane that needs the CPU."""
    return bool(demo.meta.get("secret", f"{fleet.CLUSTER}-kubeconfig", "-n", fleet.NAMESPACE))


def _fetch_kubeconfig(demo: Demo) -> None:
    """As a person would. Raises KokError when `kok kubeconfig` fails."""
    demo.business.kubeconfig.touch(mode=0o600)
    demo.business.kubeconfig.write_text(kok("kubeconfig", fleet.CLUSTER, "-n", fleet.NAMESPACE, f"--kubeconfig={demo.meta.kubeconfig}"))


def _can_write(demo: Demo) -> bool:
    """Whether a client with the admin kubeconfig may write."""
    try:
        demo.business.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "first-write", "namespace": "default"}})
    except KokError:
        return False
    return True


def _message(kubectl: Kubectl, kind: str, name: str = fleet.CLUSTER) -> str:
    found = kubectl.get(kind, name, "-n", fleet.NAMESPACE) or {}
    return f"it says: {(found.get('status') or {}).get('message', 'nothing yet')}"


def _machines(demo: Demo) -> None:
    began = time.monotonic()
    hosts = [fleet.LabHost(one["name"], one["address"], tuple(one["hostKeys"])) for one in demo.lab["hosts"] if one["name"] in fleet.HOSTS]
    demo.meta.apply(fleet.pool(hosts))
    opened: dict[str, float] = {}

    def all_open() -> bool:
        for name in fleet.HOSTS:
            if name not in opened and is_open(demo.business, name):
                opened[name] = time.monotonic() - began
        return len(opened) == len(fleet.HOSTS)

    wait_until("nodes open", all_open, timeout=240, every=1.0, tell=lambda: _machine_messages(demo.business))
    seconds = ", ".join(f"{name} after {at:.0f}s" for name, at in opened.items())
    demo.stage("machines", f"open: {seconds}", began)


def is_open(business: Kubectl, name: str) -> bool:
    """Whether a node takes pods: Ready, no not-ready taint of kok's, schedulable."""
    node = business.get("node", name)
    if not node or node["spec"].get("unschedulable"):
        return False
    tainted = any(taint["key"] == "kok.dev/not-ready" for taint in node["spec"].get("taints", ()))
    return not tainted and any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))


def _machine_messages(business: Kubectl) -> str:
    machines = business.items("machines.kok.dev")
    return "; ".join(f"{one['metadata']['name']}: {(one.get('status') or {}).get('message', '?')}" for one in machines) or "no machines yet"


def _web(demo: Demo) -> None:
    began = time.monotonic()
    demo.business.apply(*fleet.web())
    wait_until("web answers by its Service name", lambda: _web_answers(demo.business), timeout=120, every=0.5)
    took = _ask_web(demo.business)
    demo.stage("pod web", f"on {fleet.HOSTS[0]}, answered {fleet.HOSTS[1]} as web.default.svc in {took}", began)


def _web_answers(business: Kubectl) -> bool:
    try:
        return bool(_ask_web(business))
    except KokError:
        return False


def _ask_web(business: Kubectl) -> str:
    """Milliseconds that the client pod's request took, by Service DNS name, DNS included."""
    out = business.run(
        "exec", "client", "-n", "default", "--",
        "curl", "-sf", "-o", "/dev/null", "-w", "%{time_total}", "--max-time", "3", "http://web.default.svc.cluster.local/", timeout=10,
    )  # fmt: skip
    return f"{float(out) * 1000:.0f} ms"


def break_and_heal(demo: Demo) -> None:
    """Break four things on purpose and time how each heals: two of the plane one after the other, then one on each host at once."""
    for stories in ((_kill_apiserver,), (_empty_leaf,), (_stop_containerd, _edit_file)):
        for story in stories:
            print(f"  breaking: {(story.__doc__ or '').splitlines()[0]}", file=sys.stderr, flush=True)
        with ThreadPoolExecutor(len(stories)) as together:
            demo.breakages += together.map(lambda story: story(demo), stories)


def _kill_apiserver(demo: Demo) -> Breakage:
    """apiserver pod deleted"""
    selector = ("pods", "-n", fleet.NAMESPACE, "-l", "app.kubernetes.io/component=apiserver")
    before = {pod["metadata"]["uid"] for pod in demo.meta.items(*selector)}
    demo.meta.run("delete", *selector, "--wait=false")

    def fresh() -> list[dict[str, Any]]:
        return [pod for pod in demo.meta.items(*selector) if pod["metadata"]["uid"] not in before]

    return _timed("apiserver pod deleted", noticed=fresh, healed=lambda: any(_pod_ready(pod) for pod in fresh()) and _readyz(demo.business))


def _pod_ready(pod: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def _readyz(business: Kubectl) -> bool:
    try:
        return business.run("get", "--raw", "/readyz", timeout=3) == "ok"
    except KokError:
        return False


def _empty_leaf(demo: Demo) -> Breakage:
    """Secret demo-apiserver-tls emptied"""
    name, deployment = f"{fleet.CLUSTER}-apiserver-tls", ("deployment", f"{fleet.CLUSTER}-apiserver", "-n", fleet.NAMESPACE)
    generation = (demo.meta.get(*deployment) or {})["metadata"]["generation"]
    empty = json.dumps({"data": {"tls.crt": "", "tls.key": "", "ca.crt": ""}})
    demo.meta.run("patch", "secret", name, "-n", fleet.NAMESPACE, "--type=merge", "-p", empty)

    def rolled() -> bool:
        found = demo.meta.get(*deployment) or {}
        status = found.get("status", {})
        fresh = found.get("metadata", {}).get("generation", 0) > generation
        wanted = found.get("spec", {}).get("replicas")
        return fresh and status.get("observedGeneration") == found["metadata"]["generation"] and status.get("updatedReplicas") == wanted \
            and status.get("readyReplicas") == wanted == status.get("replicas") and _readyz(demo.business)  # fmt: skip

    breakage = _timed(
        f"Secret {name} emptied",
        noticed=lambda: all(((demo.meta.get("secret", name, "-n", fleet.NAMESPACE) or {}).get("data") or {"tls.key": ""}).values()),
        healed=rolled,
    )
    return replace(breakage, remark="(issued anew, apiserver rolled)")


def _stop_containerd(demo: Demo) -> Breakage:
    """containerd stopped on demo-1"""
    started = _started_at(demo.business)
    on_host(fleet.HOSTS[0], "systemctl", "stop", "containerd")
    breakage = _timed(
        f"containerd stopped on {fleet.HOSTS[0]}",
        noticed=lambda: not _machine_ready(demo.business, fleet.HOSTS[0]) or _unit_active(fleet.HOSTS[0]),
        healed=lambda: _unit_active(fleet.HOSTS[0]) and is_open(demo.business, fleet.HOSTS[0]) and _web_answers(demo.business),
        every=1.0,
        steady=STEADY,
    )
    if _started_at(demo.business) != started:
        raise KokError(ErrorCode.LabFailed, "the web pod's container was restarted while containerd was stopped and started")
    return replace(breakage, remark="(pods kept running)")


def _started_at(business: Kubectl) -> str:
    pod = business.get("pod", "web", "-n", "default") or {}
    states = [one.get("containerID", "") for one in pod.get("status", {}).get("containerStatuses", ())]
    return ",".join(states)


def _machine_ready(business: Kubectl, name: str) -> bool:
    return business.condition("machines.kok.dev", name, "Ready").get("status") == "True"


def _unit_active(host: str) -> bool:
    try:
        return on_host(host, "systemctl", "is-active", "containerd").strip() == "active"
    except KokError:
        return False


def _edit_file(demo: Demo) -> Breakage:
    """package file sysctl.d/90-kok-kubelet.conf edited on demo-2"""
    host, path = fleet.HOSTS[1], "/etc/sysctl.d/90-kok-kubelet.conf"
    before = on_host(host, "sha256sum", path)
    on_host(host, "sh", "-c", f"echo '# edited by hand' >> {path}")
    return _timed(
        f"{path.removeprefix('/etc/')} edited on {host}",
        noticed=lambda: not _machine_ready(demo.business, host) or on_host(host, "sha256sum", path) == before,
        healed=lambda: on_host(host, "sha256sum", path) == before and _machine_ready(demo.business, host) and is_open(demo.business, host),
        every=1.0,
    )


def on_host(name: str, *command: str) -> str:
    """Run a command on a lab host, as someone with a console there would."""
    done = subprocess.run([str(KOK), "lab", "host", "exec", name, "--", *command], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise KokError(ErrorCode.LabFailed, f"{' '.join(command)} on {name}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _timed(
    what: str,
    *,
    noticed: Callable[[], object],
    healed: Callable[[], object],
    every: float = 0.25,
    steady: float = 0.0,
) -> Breakage:
    """`every`: seconds between two looks. A look starts processes, on the cores that should be healing. `steady`: so long it has to stay healed; what
    is told is when it began to.
    """
    began, healed_at = time.monotonic(), 0.0
    wait_until(f"{what}: noticed", noticed, timeout=HEALED_WITHIN, every=every)
    seen = time.monotonic() - began

    def stays_healed() -> bool:
        nonlocal healed_at
        if not healed():
            healed_at = 0.0
            return False
        healed_at = healed_at or time.monotonic()
        return time.monotonic() - healed_at >= steady

    wait_until(f"{what}: healed", stays_healed, timeout=HEALED_WITHIN, every=every)
    return Breakage(what, seen, healed_at - began)

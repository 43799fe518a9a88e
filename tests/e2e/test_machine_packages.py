"""Packages of living nodes: a counting pod lives through containerd and kubelet, what is done by hand is put back, the how-to is followed word for word."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import wait_until
from meta_cluster.demo.stories import KUBECTL, is_open, on_host
from tests import howto
from tests.e2e.ground import KOK, Fleet

pytestmark = pytest.mark.slow

HOST = wish.HOSTS[0]
POOL = "machinepools.kok.dev"
COUNT = "n=0; while :; do n=$((n+1)); echo $n > /tmp/count; sleep 0.1; done"
OTHER_PATCH = "kubelet-1.35.3"


@pytest.fixture
def counter(fleet: Fleet) -> Iterator[str]:
    """A pod on the first host that does nothing but count."""
    container = {"name": "counter", "image": wish.WEB_IMAGE, "command": ["sh", "-c", COUNT], "imagePullPolicy": "IfNotPresent"}
    spec = {"nodeName": HOST, "terminationGracePeriodSeconds": 0, "containers": [container]}
    fleet.business.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "counter", "namespace": "default"}, "spec": spec})
    wait_until("counter runs", lambda: (pod(fleet).get("status") or {}).get("phase") == "Running", timeout=60)
    yield "counter"
    fleet.business.run("delete", "pod", "counter", "-n", "default", "--wait=false")


@pytest.fixture
def pool(fleet: Fleet) -> Iterator[None]:
    """The pool's packages are as they were at the end."""
    before = fleet.meta.get(POOL, wish.POOL, "-n", wish.NAMESPACE) or {}
    yield
    wear(fleet, before["spec"]["packages"].get("extra") or [])


def pod(fleet: Fleet) -> dict[str, Any]:
    return fleet.business.get("pod", "counter", "-n", "default") or {}


def container_facts(fleet: Fleet) -> tuple[str, int, str]:
    """The container's id, its restarts, and when its process began, as the kernel says."""
    (status,) = pod(fleet)["status"]["containerStatuses"]
    ident = status["containerID"].removeprefix("containerd://")
    task = f"ctr -n k8s.io tasks list | awk '$1 == \"{ident}\" {{print $2}}'"
    return ident, status["restartCount"], on_host(HOST, "sh", "-c", f"awk '{{print $22}}' /proc/$({task})/stat").strip()


def counted() -> int:
    for _ in range(50):
        if text := on_host(HOST, "sh", "-c", "cat $(ls -d /proc/*/root/tmp/count 2>/dev/null | tail -1)").strip():
            return int(text)
        time.sleep(0.05)  # it is being written: emptied, and not filled yet
    raise AssertionError("the counter's file stays empty")


def wear(fleet: Fleet, extra: list[str]) -> None:
    """The pool's extra packages, and what becomes of them."""
    patch = json.dumps({"spec": {"packages": {"extra": extra}}})
    fleet.meta.run("patch", POOL, wish.POOL, "-n", wish.NAMESPACE, "--type=merge", "-p", patch)
    fleet.meta.run("wait", POOL, wish.POOL, "-n", wish.NAMESPACE, "--for=condition=Ready", "--timeout=400s", timeout=410)


def followed(fleet: Fleet, component: str) -> dict[str, Any]:
    """The package of that component which the cluster's version names."""
    names = (fleet.meta.get("clusterpackageversions.kok.dev", fleet.lab["packageVersion"]) or {})["spec"]["machinePackages"]
    packages = [fleet.meta.get("machinepackageversions.kok.dev", name) or {} for name in names]
    return next(each for each in packages if each["spec"]["component"] == component)


def another(package: dict[str, Any]) -> dict[str, Any]:
    """Another version of it: of the kubelet the other patch where the assets have it, else one more setting."""
    found = copy.deepcopy({key: package[key] for key in ("apiVersion", "kind", "spec")})
    spec, index = found["spec"], AssetsFolder().index()
    if spec["component"] == "kubelet" and OTHER_PATCH in index:
        spec["version"] = OTHER_PATCH.partition("-")[2]
        spec["artifacts"][0] |= {"asset": OTHER_PATCH, "sha256": index[OTHER_PATCH].sha256}
    elif spec["component"] == "kubelet":
        settings = next(each for each in spec["files"] if each["path"] == "/etc/kubernetes/kubelet.yaml")
        settings["content"] += "nodeStatusReportFrequency: 4m0s\n"
    else:
        spec["files"][0]["content"] += '\n[debug]\nlevel = "info"\n'
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:6]
    return found | {"metadata": {"name": f"{spec['component']}-{spec['version']}-r9-{digest}"}}


def installed(fleet: Fleet, component: str) -> str:
    machine = fleet.business.get("machines.kok.dev", HOST) or {}
    return next((str(each["wanted"]) for each in machine["status"]["packages"] if each["component"] == component and each["matches"]), "")


def test_should_keep_containers_running_through_containerd_and_kubelet_and_back(fleet: Fleet, counter: str, pool: None) -> None:
    facts, main_pids = container_facts(fleet), pids()
    others = [another(followed(fleet, component)) for component in ("containerd", "kubelet")]
    fleet.meta.apply(*others)
    names = [each["metadata"]["name"] for each in others]
    before = counted()
    wear(fleet, names)
    assert [installed(fleet, component) for component in ("containerd", "kubelet")] == names
    assert all(a != b for a, b in zip(pids(), main_pids, strict=True)), "both services were restarted"
    assert container_facts(fleet) == facts, "the same container, the same process, no restart"
    assert counted() > before
    after = counted()
    wear(fleet, [])
    assert installed(fleet, "kubelet") == followed(fleet, "kubelet")["metadata"]["name"]
    assert container_facts(fleet) == facts
    assert counted() > after
    assert all(is_open(fleet.business, name) for name in wish.HOSTS)


def pids() -> list[str]:
    return [on_host(HOST, "systemctl", "show", "-p", "MainPID", unit) for unit in ("containerd", "kubelet")]


def test_should_put_back_what_was_done_by_hand_and_tell(fleet: Fleet) -> None:
    spoils = {
        "kubelet": "echo '# by hand' >> /etc/kubernetes/kubelet.yaml",
        "containerd": "systemctl stop containerd",
        "cni-plugins": "rm /opt/cni/bin/ptp",
    }
    for component, command in spoils.items():
        known = len(repairs(fleet, component))
        on_host(HOST, "sh", "-c", command)
        wait_until(f"{component} put back", partial(_more_than, fleet, component, known), timeout=180)
    wait_until("open again", lambda: is_open(fleet.business, HOST), timeout=120)


def _more_than(fleet: Fleet, component: str, known: int) -> bool:
    return len(repairs(fleet, component)) > known


def repairs(fleet: Fleet, component: str) -> list[dict[str, Any]]:
    machine = fleet.business.get("machines.kok.dev", HOST) or {}
    return [each for each in machine["status"].get("repairs") or () if each["component"] == component and each.get("putBackAt")]


def test_should_do_what_the_how_to_says_word_for_word(fleet: Fleet, pool: None, tmp_path: Path) -> None:
    (tmp_path / "disk-watch.yaml").write_text(howto.package_text())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kubectl").symlink_to(AssetsFolder().get(KUBECTL))
    environment = {**os.environ, "KUBECONFIG": fleet.lab["kubeconfig"], "PATH": f"{tmp_path / 'bin'}:{KOK.parent}:{os.environ['PATH']}"}
    install, upgrade, remove = howto.commands()
    for script, version in ((install, "1.0.0"), (upgrade, "1.1.0")):
        done = subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=700, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for host in wish.HOSTS:
            assert on_host(host, "disk-watch", "--version") == f"disk-watch {version}\n"
            assert on_host(host, "systemctl", "is-active", "disk-watch") == "active\n"
    done = subprocess.run(["bash", "-ec", remove], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=700, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert on_host(HOST, "sh", "-c", "ls /usr/local/bin/disk-watch /etc/systemd/system/disk-watch.service 2>/dev/null || true") == ""

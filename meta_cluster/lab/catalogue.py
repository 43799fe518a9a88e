"""Production package versions turned into the lab's: the same packages with the settings that machines in containers need. Pure.

Nothing of this is in the production packages. A variant is named by its content (`kubelet-1.35.4-r1-lab-3fa2c1`), because specs are immutable
and a development build makes new ones; a package that the lab takes as it is keeps its name. Called by `lifecycle.up`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from meta_cluster.lab.layout import GATEWAY
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest

RESOLV_CONF = "/etc/kubernetes/resolv.conf"
PROBE_SECONDS = "10"  # a handful of hosts: what was changed on one is noticed sooner than in production
# Machines in containers see the real disk of the machine they share: the kubelet must not clean up because somebody else filled it.
NO_EVICTION = {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"}
CONTAINERD_CHANGES = {"restrict_oom_score_adj = false": "restrict_oom_score_adj = true", "SystemdCgroup = true": "SystemdCgroup = false"}


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """What a package says of an asset. `package_version` is what dpkg calls the version; empty for what is no Debian package."""

    sha256: str
    package_version: str = ""


def lab_packages(packages: Iterable[Manifest], *, assets: Mapping[str, AssetFacts], operator_image: str) -> list[Manifest]:
    """All package versions as the lab installs them: machine packages first, then the cluster packages that name them.

    `assets`: by asset name. Raises KokError CatalogueInvalid where a package no longer has the setting that the lab must change.
    """
    found = [copy.deepcopy(manifest) for manifest in packages]
    machine = {m["metadata"]["name"]: _machine_variant(m, assets) for m in found if m["kind"] == "MachinePackageVersion"}
    names = {original: variant["metadata"]["name"] for original, variant in machine.items()}
    cluster = [_cluster_variant(m, names, operator_image) for m in found if m["kind"] == "ClusterPackageVersion"]
    return [*machine.values(), *cluster]


def of_versions(packages: Iterable[Manifest], versions: Sequence[str]) -> list[Manifest]:
    """The packages without the cluster packages and kubelets of other Kubernetes versions; cluster packages in the order of `versions`."""
    found = list(packages)
    cluster = [m for m in found if m["kind"] == "ClusterPackageVersion" and m["spec"]["kubernetesVersion"] in versions]
    others = [m for m in found if m["kind"] != "ClusterPackageVersion"]
    kept = [m for m in others if m["spec"].get("component") != "kubelet" or m["spec"]["version"] in versions]
    return [*kept, *sorted(cluster, key=lambda m: versions.index(m["spec"]["kubernetesVersion"]))]


def _machine_variant(package: Manifest, assets: Mapping[str, AssetFacts]) -> Manifest:
    before = copy.deepcopy(package["spec"])
    for artifact in package["spec"].get("artifacts") or ():
        if facts := assets.get(artifact.get("asset", "")):
            artifact.setdefault("sha256", facts.sha256)
            if facts.package_version:
                artifact.setdefault("packageVersion", facts.package_version)
    change = CHANGES.get(package["spec"]["component"])
    if change is not None:
        change(package)
    return package if package["spec"] == before else _named(package)


def _cluster_variant(package: Manifest, names: Mapping[str, str], operator_image: str) -> Manifest:
    spec = package["spec"]
    spec["machinePackages"] = [names.get(name, name) for name in spec.get("machinePackages") or ()]
    if proxy := spec.get("apiProxyPackage"):
        spec["apiProxyPackage"] = names.get(proxy, proxy)
    machine_operator = spec["components"]["machineOperator"]
    machine_operator["image"] = operator_image
    machine_operator["flags"] = {"probe-seconds": PROBE_SECONDS, **machine_operator.get("flags", {})}
    return _named(package)


def _named(package: Manifest) -> Manifest:
    """The same package under a name that says what is in it."""
    digest = hashlib.sha256(json.dumps(package["spec"], sort_keys=True).encode()).hexdigest()
    package["metadata"]["name"] += f"-lab-{digest[:6]}"
    return package


def _containerd(package: Manifest) -> None:
    """No OOM scores below the container's own, cgroups without a systemd driver."""
    file = _file(package, "/etc/containerd/config.toml")
    for before, after in CONTAINERD_CHANGES.items():
        if file["content"].count(before) != 1:
            raise _unexpected(package, f"{file['path']} does not say `{before}` once")
        file["content"] = file["content"].replace(before, after)


def _kubelet(package: Manifest) -> None:
    """cgroupfs on cgroup v1 too, no swap check, no eviction, and a resolver that is not Docker's (CoreDNS would ask itself in a circle)."""
    file = _file(package, "/etc/kubernetes/kubelet.yaml")
    settings = yaml.safe_load(file["content"])
    if not isinstance(settings, dict) or settings.get("kind") != "KubeletConfiguration":
        raise _unexpected(package, f"{file['path']} is no KubeletConfiguration")
    settings |= {
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {**settings.get("featureGates", {}), "KubeletInUserNamespace": True},
        "imageGCHighThresholdPercent": 100,
        "evictionHard": NO_EVICTION,
        "resolvConf": RESOLV_CONF,
    }
    file["content"] = yaml.safe_dump(settings, sort_keys=True)
    package["spec"]["files"].append({"path": RESOLV_CONF, "content": f"nameserver {GATEWAY}\n", "notify": file.get("notify", "")})


def _file(package: Manifest, path: str) -> Manifest:
    for file in package["spec"].get("files") or ():
        if file["path"] == path:
            assert isinstance(file, dict)
            return file
    raise _unexpected(package, f"it has no file {path}")


def _unexpected(package: Manifest, what: str) -> KokError:
    message = f"MachinePackageVersion {package['metadata']['name']}: the lab cannot make its variant: {what}"
    return KokError(ErrorCode.CatalogueInvalid, message, "correct the package, or meta_cluster/lab/catalogue.py")


CHANGES: Mapping[str, Callable[[Manifest], None]] = {"containerd": _containerd, "kubelet": _kubelet}
"""Component -> what the lab changes; all others are taken as they are."""

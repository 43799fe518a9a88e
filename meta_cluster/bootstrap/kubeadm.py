"""What kubeadm is told for a meta cluster of an inventory: pure, from data to configuration documents. Called by `meta_init`.

Images are named as the archives on the hosts name them, so that nothing is pulled. Secrets (token, certificate key) come in as text.
"""

from __future__ import annotations

from typing import Any

import yaml

from meta_cluster.assets import versions as v
from meta_cluster.bootstrap.inventory import Inventory
from operators.api.hosts import Host

API = "kubeadm.k8s.io/v1beta4"
SOCKET = "unix:///run/containerd/containerd.sock"
RESOLV_CONF = "/etc/kok/resolv.conf"
REPEATED = (
    "DirAvailable--etc-kubernetes-manifests", "DirAvailable--var-lib-etcd", "FileAvailable--etc-kubernetes-kubelet.conf",
    "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf", "FileAvailable--etc-kubernetes-pki-ca.crt",
    *(f"FileAvailable--etc-kubernetes-manifests-{name}.yaml" for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")),
    *(f"Port-{port}" for port in (6443, 10259, 10257, 10250, 2379, 2380)),
)  # fmt: skip
"""What kubeadm would complain of when a run that was cut is repeated; that the host is free for us was checked before the first run."""
INSIDE_CONTAINERS: dict[str, Any] = {
    "cgroupDriver": "cgroupfs",
    "cgroupRoot": "/",
    "failCgroupV1": False,
    "failSwapOn": False,
    "featureGates": {"KubeletInUserNamespace": True},
    "imageGCHighThresholdPercent": 100,
    "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
}


def ignored_errors(inventory: Inventory) -> str:
    """For --ignore-preflight-errors. A container has no kernel configuration to look at."""
    return ",".join([*REPEATED, *(["SystemVerification", "Swap"] if inventory.inside_containers else [])])


def init_documents(inventory: Inventory, certificate_key: str) -> str:
    """For `kubeadm init` on the first host."""
    first = {
        "apiVersion": API,
        "kind": "InitConfiguration",
        "nodeRegistration": _registration(inventory.hosts[0]),
        "localAPIEndpoint": {"advertiseAddress": inventory.hosts[0].address, "bindPort": 6443},
        "certificateKey": certificate_key,
    }
    return yaml.safe_dump_all([first, _cluster(inventory), _kubelet(inventory), _proxy(inventory)], sort_keys=False)


def join_document(inventory: Inventory, host: Host, certificate_key: str) -> str:
    """For `kubeadm join` on another host; @TOKEN@ and @CA@ are filled in on the way, when the first host has made them."""
    document = {
        "apiVersion": API,
        "kind": "JoinConfiguration",
        "nodeRegistration": _registration(host),
        "discovery": {"bootstrapToken": {"apiServerEndpoint": _endpoint(inventory), "token": "@TOKEN@", "caCertHashes": ["@CA@"]}},
        "controlPlane": {"localAPIEndpoint": {"advertiseAddress": host.address, "bindPort": 6443}, "certificateKey": certificate_key},
    }
    return yaml.safe_dump(document, sort_keys=False)


def _registration(host: Host) -> dict[str, Any]:
    """Every host also runs the planes of business clusters, so none keeps pods away."""
    return {
        "name": host.name,
        "criSocket": SOCKET,
        "taints": [],
        "imagePullPolicy": "Never",  # kubeadm's own pulls only; what runs came with the packages
        "kubeletExtraArgs": [{"name": "node-ip", "value": host.address}],
    }


def _endpoint(inventory: Inventory) -> str:
    return f"{inventory.api.host}:{inventory.api.port}"


def _cluster(inventory: Inventory) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "ClusterConfiguration",
        "clusterName": inventory.name,
        "kubernetesVersion": f"v{v.DEFAULT_KUBERNETES}",
        "controlPlaneEndpoint": _endpoint(inventory),
        "networking": {"podSubnet": str(inventory.network.pod_cidr), "serviceSubnet": str(inventory.network.service_cidr)},
        "apiServer": {
            "certSANs": sorted({inventory.api.host, *(host.address for host in inventory.hosts), *(host.name for host in inventory.hosts)})
        },
        "dns": {"imageTag": f"v{v.COREDNS}"},
        "etcd": {"local": {"imageTag": f"{v.ETCD}-0"}},
    }


def _kubelet(inventory: Inventory) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "maxPods": 250,
    }
    if inventory.nameservers:
        settings["resolvConf"] = RESOLV_CONF
    return settings | (INSIDE_CONTAINERS if inventory.inside_containers else {})


def _proxy(inventory: Inventory) -> dict[str, Any]:
    settings: dict[str, Any] = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables"}
    return settings | ({"conntrack": {"maxPerCore": 0}} if inventory.inside_containers else {})

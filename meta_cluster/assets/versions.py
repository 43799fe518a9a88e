"""Which versions the assets are of, and what their images are called: the names that catalogue data and manifests repeat. Data only."""

from __future__ import annotations

KUBERNETES = ("1.35.4",)
DEFAULT_KUBERNETES = "1.35.4"
ETCD = "3.6.8"
COREDNS = "1.12.4"
LOCAL_PATH = "0.0.30"
KIND = "0.30.0"
FLANNEL = "0.26.7"
KWOK = "0.7.0"
PAUSE = "3.10"
CONTAINERD = "1.6.20"
RUNC = "1.1.5"
CNI_PLUGINS = "1.1.1"

KUBE_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
KUBE_BINARIES = ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kubeadm", "kube-proxy")

IMAGE_ETCD = f"registry.k8s.io/etcd:{ETCD}-0"
IMAGE_COREDNS = f"registry.k8s.io/coredns/coredns:v{COREDNS}"
IMAGE_PAUSE = f"registry.k8s.io/pause:{PAUSE}"
IMAGE_FLANNEL = f"ghcr.io/flannel-io/flannel:v{FLANNEL}"
IMAGE_LOCAL_PATH = f"docker.io/rancher/local-path-provisioner:v{LOCAL_PATH}"
IMAGE_BUSYBOX = "docker.io/library/busybox:stable"
IMAGE_WEB = "registry.kok.dev/web:1"
OPERATOR_REPOSITORY = "registry.kok.dev/kok"


def kube_image(component: str, version: str) -> str:
    """The upstream name of a Kubernetes component's image."""
    return f"registry.k8s.io/{component}:v{version}"

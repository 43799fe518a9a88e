"""Which versions the assets are of, and what their images are called: the names that catalogue data and manifests repeat. Data only."""

from __future__ import annotations

DEFAULT_KUBERNETES = "1.35.4"
ETCD = "3.6.8"
COREDNS = "1.12.4"
LOCAL_PATH = "0.0.30"
KIND = "0.30.0"
FLANNEL = "0.26.7"
KWOK = "0.7.0"
KSTATUS = "0.37.2"
KONNECTIVITY = "0.34.0"
NODE_PROBLEM_DETECTOR = "1.34.0"
PAUSE = "3.10"
CONTAINERD = "1.6.20"
RUNC = "1.1.5"
CNI_PLUGINS = "1.1.1"
HAPROXY = "2.6.12"
HAPROXY_LIBRARIES = ("liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0")
"""What haproxy needs of Debian that an ordinary minimal server does not have."""

KUBE_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
KUBE_BINARIES = {
    DEFAULT_KUBERNETES: ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kubeadm", "kube-proxy"),
    "1.34.4": _PLANE,
    "1.35.3": ("kube-apiserver", "kubelet"),
    "1.33.13": _PLANE,
}
"""Version -> what is built of it: the default in full, one minor below to upgrade from, a second patch, and the oldest one."""
KUBERNETES_ON_DEMAND = frozenset({"1.33.13", "1.35.3"})
"""Built only when asked for by name: what only the longest tests need."""

IMAGE_ETCD = f"registry.k8s.io/etcd:{ETCD}-0"
IMAGE_COREDNS = f"registry.k8s.io/coredns/coredns:v{COREDNS}"
IMAGE_PAUSE = f"registry.k8s.io/pause:{PAUSE}"
IMAGE_FLANNEL = f"ghcr.io/flannel-io/flannel:v{FLANNEL}"
IMAGE_KONNECTIVITY_SERVER = f"registry.k8s.io/kas-network-proxy/proxy-server:v{KONNECTIVITY}"
IMAGE_KONNECTIVITY_AGENT = f"registry.k8s.io/kas-network-proxy/proxy-agent:v{KONNECTIVITY}"
IMAGE_LOCAL_PATH = f"docker.io/rancher/local-path-provisioner:v{LOCAL_PATH}"
IMAGE_BUSYBOX = "docker.io/library/busybox:stable"
IMAGE_WEB = "registry.kok.dev/web:1"
OPERATOR_REPOSITORY = "registry.kok.dev/kok"


def kube_image(component: str, version: str) -> str:
    """The upstream name of a Kubernetes component's image."""
    return f"registry.k8s.io/{component}:v{version}"

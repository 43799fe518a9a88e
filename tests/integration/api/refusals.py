"""What the API server must refuse, each beside its nearest valid neighbour: data for test_refusals.py.

A row names a sample (tests/sample_manifests.py), the path that is edited, a bad value with the words its refusal must contain, and a good value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ABSENT = object()
"""As a value: the field is removed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One bad input. `path` uses dots, numbers for list items and `~` for dots within a key."""

    title: str
    kind: str
    name: str
    path: str
    bad: Any
    says: str
    good: Any
    stored: bool = False
    """Whether the sample is stored first and the value arrives as an edit."""


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxP7QkzF3Nq2m0F9k0n8mV1y0q8Yl4nXo8tQm0cJd1e"


def cluster(title: str, path: str, bad: Any, says: str, good: Any, *, stored: bool = False) -> Refusal:
    """A row about the sample Cluster demo."""
    return Refusal(title, "Cluster", "demo", path, bad, says, good, stored)


def pool(title: str, path: str, bad: Any, says: str, good: Any, *, stored: bool = False) -> Refusal:
    """A row about the sample MachinePool workers."""
    return Refusal(title, "MachinePool", "workers", path, bad, says, good, stored)


def cpv(title: str, path: str, bad: Any, says: str, good: Any, *, stored: bool = False) -> Refusal:
    """A row about the sample ClusterPackageVersion."""
    return Refusal(title, "ClusterPackageVersion", "kubernetes-1.35.4-sample", path, bad, says, good, stored)


def mpv(title: str, path: str, bad: Any, says: str, good: Any, *, stored: bool = False) -> Refusal:
    """A row about the sample MachinePackageVersion."""
    return Refusal(title, "MachinePackageVersion", "example-1.0.0-sample", path, bad, says, good, stored)


def frozen(*scopes: str) -> dict[str, Any]:
    """A person's hold of a budget in these scopes."""
    return {"mode": "ForcedOpen", "reason": "incident 42", "until": "2026-03-01T12:00:00Z", "scopes": list(scopes)}


def budget(title: str, bad: Any, good: Any, *, says: str = "hold.scopes are named as status.scopes names them") -> Refusal:
    """A row about the hold of the sample OperationBudget, which counts per failure domain."""
    return Refusal(title, "OperationBudget", "prod-machines", "spec.hold", bad, says, good)


NEVER = "a package version never changes"


def artifacts(count: int) -> list[dict[str, str]]:
    """That many small files of a package."""
    return [{"name": f"a{n}", "sha256": "a" * 64, "as": "File", "path": f"/opt/a{n}"} for n in range(count)]


REFUSALS = (
    budget("a frozen scope that is none", frozen("demo/demo"), frozen("zone a of cluster demo/demo")),
    budget("a frozen scope of another sort", frozen("cluster demo/demo"), frozen("zone (none) of cluster demo/demo")),
    budget(
        "one of two frozen scopes",
        frozen("zone a of cluster demo/demo", "zone b"),
        frozen("zone a of cluster a/a", "zone b of cluster b/b"),
    ),
    cluster("even etcd", "spec.etcd", {"members": 2}, "set 1, 3 or 5", {"members": 3}),
    cluster("no etcd at all", "spec.etcd", {"members": 0}, "greater than or equal to 1", {"members": 1}),
    cluster("seven members", "spec.etcd", {"members": 7}, "less than or equal to 5", {"members": 5}),
    cluster("another volume size", "spec.etcd.storageGiB", 4, "volumes are not resized", 2, stored=True),
    cluster("events moved apart", "spec.etcd.separateEvents", True, "events cannot move", False, stored=True),
    cluster("overlap of pods and services", "spec.network", {"podCIDR": "10.96.0.0/12"}, "overlap", {"podCIDR": "10.112.0.0/12"}),
    cluster(
        "services within the pods' range", "spec.network", {"serviceCIDR": "10.245.8.0/24"}, "overlap", {"serviceCIDR": "10.246.8.0/24"}
    ),
    cluster("a CIDR out of range", "spec.network", {"podCIDR": "10.300.0.0/16"}, "is not an IPv4 range", {"podCIDR": "10.30.0.0/16"}),
    cluster(
        "a CIDR with host bits", "spec.network", {"podCIDR": "10.30.0.1/16"}, "first address of its range", {"podCIDR": "10.30.0.0/16"}
    ),
    cluster("an address without its length", "spec.network", {"podCIDR": "10.30.0.0"}, "is not an IPv4 range", {"podCIDR": "10.30.0.0/16"}),
    cluster(
        "a length that no range has", "spec.network", {"podCIDR": "10.30.0.0/33"}, "a length of at most 32", {"podCIDR": "10.30.0.0/16"}
    ),
    cluster("too few pod addresses", "spec.network", {"podCIDR": "10.30.0.0/25"}, "every node takes a /24", {"podCIDR": "10.30.0.0/24"}),
    cluster("too few services", "spec.network", {"serviceCIDR": "10.97.0.0/29"}, "between /12 and /28", {"serviceCIDR": "10.97.0.0/28"}),
    cluster("another network later", "spec.network.domain", "other.local", "cannot change", "cluster.local", stored=True),
    cluster("a soak without end", "spec.upgrade", {"soakSeconds": 604801}, "less than or equal to 604800", {"soakSeconds": 604800}),
    cluster("no package version", "spec.packageVersion", ABSENT, "spec.packageVersion: Required value", "kubernetes-1.35.4-r2"),
    cluster("a NodePort without a host", "spec.endpoint.host", ABSENT, "endpoint.host is required", "api.example"),
    cluster("a NodePort outside the range", "spec.endpoint.port", 6443, "between 30000 and 32767", 32767),
    cluster(
        "a konnectivity port outside the range", "spec.endpoint.konnectivityPort", 8132, "leave it out and the meta cluster chooses", 30132
    ),
    cluster("konnectivity on the API server's port", "spec.endpoint.konnectivityPort", 31443, "same as endpoint.port", 31444),
    cluster("several hosts without a port for agents", "spec.endpoint.additionalHosts", ["10.0.0.2"], "needs type NodePort", []),
    cluster("a host that is no name", "spec.endpoint.host", "https://10.0.0.1", "should match", "10.0.0.1"),
    cluster(
        "another type of endpoint", "spec.endpoint.type", "LoadBalancer", "type of a running cluster's endpoint", "NodePort", stored=True
    ),
    cluster("flags of an unknown component", "spec.flags", {"kubelet": {"v": "2"}}, "unknown component", {"scheduler": {"v": "2"}}),
    cluster("a flag with its dashes", "spec.flags", {"apiserver": {"--v": "2"}}, "without its dashes", {"apiserver": {"v": "2"}}),
    cluster(
        "a newline in a flag", "spec.flags", {"apiserver": {"v": "2\n--insecure"}}, "should match", {"apiserver": {"v": "2 --insecure"}}
    ),
    cluster("an oversized flag", "spec.flags", {"apiserver": {"v": "x" * 4097}}, "Too long", {"apiserver": {"v": "x" * 4096}}),
    cluster(
        "too many flags",
        "spec.flags",
        {"apiserver": {f"f{number}": "" for number in range(65)}},
        "Too many",
        {"apiserver": {f"f{number}": "" for number in range(64)}},
    ),
    cluster(
        "an endpoint within the pods' range",
        "spec.network",
        {"podCIDR": "10.89.0.0/16"},
        "choose another range",
        {"podCIDR": "10.90.0.0/16"},
    ),
    cluster(
        "an endpoint within the Services' range",
        "spec.network",
        {"serviceCIDR": "10.89.0.0/24"},
        "choose another range",
        {"serviceCIDR": "10.89.1.0/24"},
    ),
    cluster("an IPv6 range", "spec.network", {"podCIDR": "fd00::/64"}, "is not an IPv4 range", {"podCIDR": "10.30.0.0/16"}),
    cluster("a range that is the other", "spec.network", {"podCIDR": "10.97.0.0/16"}, "overlap", {"podCIDR": "10.98.0.0/16"}),
    cluster("a domain in capitals", "spec.network", {"domain": "Cluster.local"}, "should match", {"domain": "cluster.local"}),
    cluster("a domain with an umlaut", "spec.network", {"domain": "clüster.local"}, "should match", {"domain": "xn--clster-3ya.local"}),
    cluster(
        "a StorageClass that is no name", "spec.etcd", {"storageClassName": "Fast SSD"}, "should match", {"storageClassName": "fast-ssd"}
    ),
    cluster("a volume without size", "spec.etcd", {"storageGiB": 0}, "greater than or equal to 1", {"storageGiB": 1}),
    cluster("a volume beyond all bounds", "spec.etcd", {"storageGiB": 1025}, "less than or equal to 1024", {"storageGiB": 1024}),
    cluster("a number with a fraction", "spec.etcd", {"storageGiB": 1.5}, "must be of type integer", {"storageGiB": 2}),
    cluster("text for a switch", "spec.paused", "yes", "must be of type boolean", True),
    cluster("a list for an object", "spec.masters", [], "must be of type object", {}),
    cluster("six API servers", "spec.masters", {"replicas": 6}, "less than or equal to 5", {"replicas": 5}),
    cluster("no API server", "spec.masters", {"replicas": 0}, "greater than or equal to 1", {"replicas": 1}),
    cluster("a package version that is no name", "spec.packageVersion", "kubernetes 1.35", "should match", "kubernetes-1.35.4-r2"),
    cluster("a package version in the dark", "spec.packageVersion", "kubernetes-1.35.4-r1\u200b", "should match", "kubernetes-1.35.4-r1"),
    cluster("a Secret in another namespace", "spec.machineAccess.sshKeySecretName", "other/ssh", "should match", "other.ssh"),
    cluster("an escape in a flag", "spec.flags", {"apiserver": {"v": "2\u001b[2J"}}, "should match", {"apiserver": {"v": "2"}}),
    cluster("a NUL in a flag", "spec.flags", {"apiserver": {"v": "2\u0000"}}, "should match", {"apiserver": {"v": "ü"}}),
    cluster("a flag in capitals", "spec.flags", {"scheduler": {"V": "2"}}, "lower-case", {"scheduler": {"v": "2"}}),
    cluster("a number for a flag", "spec.flags", {"scheduler": {"v": 2}}, "must be of type string", {"scheduler": {"v": "2"}}),
    cluster("an unknown policy", "spec.changePolicy", "Auto", "Unsupported value", "RolloutOnly"),
    cluster("an unknown size", "spec.size", "huge", "Unsupported value", "medium"),
    cluster("text for a number", "spec.masters", {"replicas": "2"}, "must be of type integer", {"replicas": 2}),
    cluster("a name too long for Services", "metadata.name", "a" * 33, "at most 32 characters", "a" * 32),
    cluster("a name with a dot", "metadata.name", "a.b", "at most 32 characters", "a-b"),
    pool("follow and explicit", "spec.packages", {"follow": "Cluster", "explicit": ["a-1"]}, "not both", {"explicit": ["a-1"]}),
    pool("neither follow nor explicit", "spec.packages", {"extra": ["a-1"]}, "not neither", {"follow": "Cluster", "extra": ["a-1"]}),
    pool("the same package twice", "spec.packages", {"explicit": ["a-1", "a-1"]}, "Duplicate value", {"explicit": ["a-1", "a-2"]}),
    pool("another cluster", "spec.clusterName", "other", "stays with its cluster", "demo", stored=True),
    pool("a host key of no known type", "spec.hosts.0.hostKeys", ["ssh-foo AAAA"], "should match", [KEY]),
    pool("a host key with its comment", "spec.hosts.0.hostKeys", [f"{KEY} root@demo-1"], "should match", [KEY]),
    pool("a host key with a newline", "spec.hosts.0.hostKeys", [f"{KEY}\nssh-rsa AAAA"], "should match", [KEY, "ssh-rsa AAAA"]),
    pool("a host twice", "spec.hosts.1.name", "demo-1", "Duplicate value", "demo-3"),
    pool(
        "an address twice",
        "spec.hosts.1",
        {"name": "demo-2", "address": "10.89.0.11"},
        "same address and port",
        {"name": "demo-2", "address": "10.89.0.13"},
    ),
    pool("a host name in capitals", "spec.hosts.0.name", "Demo-1", "should match", "demo-one"),
    pool("a user with a space", "spec.hosts.0.user", "root -o", "should match", "root"),
    pool("a port beyond the last", "spec.hosts.0.port", 65536, "less than or equal to 65535", 65535),
    pool(
        "201 hosts",
        "spec.hosts",
        [{"name": f"h{n}", "address": f"h{n}"} for n in range(201)],
        "must have at most 200 items",
        [{"name": f"h{n}", "address": f"h{n}"} for n in range(200)],
    ),
    pool("a host without an address", "spec.hosts.0.address", ABSENT, "address: Required value", "10.89.0.11"),
    pool("an address with a path", "spec.hosts.0.address", "10.89.0.11/24", "should match", "10.89.0.11"),
    pool("an address with an option", "spec.hosts.0.address", "-oProxyCommand=id", "should match", "oproxy"),
    pool("a host name with a newline", "spec.hosts.0.name", "demo-1\nevil", "should match", "demo-1-evil"),
    pool("a host name in Greek", "spec.hosts.0.name", "κόμβος", "should match", "komvos"),
    pool("port 0", "spec.hosts.0.port", 0, "greater than or equal to 1", 1),
    pool("a user who is an option", "spec.hosts.0.user", "-l", "should match", "l"),
    pool(
        "nine host keys",
        "spec.hosts.0.hostKeys",
        [f"ssh-rsa AAA{n}" for n in range(9)],
        "at most 8 items",
        [f"ssh-rsa AAA{n}" for n in range(8)],
    ),
    pool("the same host key twice", "spec.hosts.0.hostKeys", [KEY, KEY], "Duplicate value", [KEY]),
    pool(
        "a zone with a space",
        "spec.hosts.0",
        {"name": "h", "address": "h", "zone": "z 1"},
        "should match",
        {"name": "h", "address": "h", "zone": "z-1"},
    ),
    pool(
        "33 packages",
        "spec.packages",
        {"explicit": [f"p-{n}" for n in range(33)]},
        "at most 32 items",
        {"explicit": [f"p-{n}" for n in range(32)]},
    ),
    pool("a gate of no name", "spec.readinessGates.0.type", "Log Agent", "should match", "LogAgent"),
    pool("a gate that waits for ever", "spec.readinessGates.0.maxAgeSeconds", 86401, "less than or equal to 86400", 86400),
    pool("a reporter with a newline", "spec.readinessGates.0.reporter", "a\nb", "should match", "system:serviceaccount:a:b"),
    pool("a taint of unknown effect", "spec.taints.0.effect", "Never", "Unsupported value", "NoExecute"),
    pool("101 percent", "spec.update.maxUnavailable.percent", 101, "less than or equal to 100", 100),
    pool("fewer than no host", "spec.update.maxUnavailable.count", -1, "greater than or equal to 0", 0),
    pool("a cluster that is no name", "spec.clusterName", "demo.prod", "should match", "demo-prod"),
    pool("a label of ours", "spec.labels", {"kok.dev/machine": "x"}, "kok's own", {"example.org/machine": "x"}),
    pool("a label key that is none", "spec.labels", {"a b": "x"}, "optional DNS prefix", {"a-b": "x"}),
    pool("a taint of ours", "spec.taints.0.key", "kok.dev/not-ready", "kok's own", "example.org/not-ready"),
    pool("an impatient gate", "spec.readinessGates.0.maxAgeSeconds", 5, "greater than or equal to 10", 10),
    pool("a BMC without a scheme", "spec.hosts.1.power.redfishURL", "10.89.1.12", "should match", "https://10.89.1.12"),
    cpv(
        "another image later",
        "spec.components.apiserver.image",
        "registry.k8s.io/kube-apiserver:v1.35.5",
        NEVER,
        "registry.k8s.io/kube-apiserver:v1.35.4",
        stored=True,
    ),
    cpv(
        "another machine package later",
        "spec.machinePackages",
        ["kubelet-1.35.5-r1"],
        NEVER,
        ["containerd-1.6.20-r1", "cni-plugins-1.1.1-r1", "kubelet-1.35.4-r1"],
        stored=True,
    ),
    cpv("an image with a tag of spaces", "spec.components.apiserver.image", "apiserver: latest", "should match", "apiserver:latest"),
    cpv("a flag of the package's with a newline", "spec.components.scheduler.flags", {"v": "2\n3"}, "should match", {"v": "23"}),
    cpv("a revision with a path", "spec.planeRevision", "../r1", "should match", "r1"),
    cpv("33 machine packages", "spec.machinePackages", [f"p-{n}" for n in range(33)], "at most 32 items", [f"p-{n}" for n in range(32)]),
    cpv("an etcd of no version", "spec.components.etcd.version", "3.6", "should match", "3.6.8"),
    cpv("a version that is none", "spec.kubernetesVersion", "v1.35", "should match", "1.35.4"),
    cpv("a CNI that kok has not", "spec.addons.cni.name", "calico", "Unsupported value", "flannel"),
    cpv("a component left out", "spec.components.scheduler", ABSENT, "components.scheduler: Required value", {"image": "scheduler:1"}),
    mpv("another file later", "spec.files.0.content", "name = 'x'\n", NEVER, 'name = "{{ node.name }}"\n', stored=True),
    mpv("a digest that is none", "spec.artifacts.0.sha256", "abc", "at least 64 chars", "a" * 64),
    mpv("a digest in capitals", "spec.artifacts.0.sha256", "A" * 64, "should match", "a" * 64),
    mpv("a file without a path", "spec.artifacts.0.path", ABSENT, "path is required", "/usr/bin/example"),
    mpv("a relative path", "spec.files.0.path", "etc/example", "should match", "/etc/example"),
    mpv("Url without a url", "spec.artifacts.3.url", ABSENT, "url is required", "https://mirror.example/other.rpm"),
    mpv("a deb without its package", "spec.artifacts.2.package", ABSENT, "package and packageVersion are required", "example-data"),
    mpv("an image without its name", "spec.artifacts.4.image", ABSENT, "image is required", "pause:1"),
    mpv("an oversized file", "spec.files.0.content", "x" * 65537, "Too long", "x" * 65536),
    mpv(
        "a newline in a sysctl",
        "spec.sysctls",
        {"net.ipv4.ip_forward": "1\nkernel.panic = 1"},
        "should match",
        {"net.ipv4.ip_forward": "1"},
    ),
    mpv("a sysctl with a space", "spec.sysctls", {"a = b": "1"}, "as under /proc/sys", {"a.b": "1"}),
    mpv("a path with a way up", "spec.files.0.path", "/etc/{a,b}", "should match", "/etc/a_b"),
    mpv("a mode that is none", "spec.files.0.mode", "rw-", "should match", "0644"),
    mpv("33 artifacts", "spec.artifacts", artifacts(33), "at most 32 items", artifacts(32)),
    mpv("an address that is no URL", "spec.artifacts.3.url", "file:///etc/shadow", "should match", "https://mirror.example/a.rpm"),
    mpv("a Debian package with a space", "spec.artifacts.2.package", "curl; id", "should match", "curl"),
    mpv("a version with a newline", "spec.version", "1.0.0\n2", "should match", "1.0.0-2"),
    mpv("an order beyond the last", "spec.order", 1001, "less than or equal to 1000", 1000),
    mpv("a module with a path", "spec.kernelModules", ["../evil"], "should match", ["evil"]),
    mpv("a command of no words", "spec.observe.command", [], "at least 1 items", ["true"]),
    mpv("a unit without its suffix", "spec.units.0.name", "example", "should match", "example.service"),
    mpv("an unknown effect", "spec.effect.version", "Explode", "Unsupported value", "Reboot"),
    Refusal(
        "another target later", "OperationGrant", "drain-demo-1-0", "spec.target.name", "demo-2", "a request never changes", "demo-1", True
    ),
    Refusal(
        "an act that is not in the list", "OperationGrant", "drain-demo-1-0", "spec.operation", "Explode", "Unsupported value", "Reboot"
    ),
    Refusal(
        "an act without a requester", "OperationGrant", "drain-demo-1-0", "spec.requester", "", "at least 1 chars", "machine-operator/demo"
    ),
    Refusal("a state nobody knows", "Machine", "demo-1", "spec.desiredState", "Gone", "Unsupported value", "Maintenance"),
    Refusal(
        "a time that is none", "ClusterRelease", "demo", "spec.current.at", "yesterday", "must be of type date-time", "2026-01-02T03:04:06Z"
    ),
)

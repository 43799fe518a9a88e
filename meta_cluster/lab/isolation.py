"""Keeps the meta cluster's nodes from routing to hosts, as in a data centre where the two networks meet at a firewall. Called by `lifecycle.up`.

From a meta node and the pods on it only SSH goes to hosts; hosts may dial meta nodes, and what they dialled is answered. So kubelets, pods and
Services of a business cluster are reached through konnectivity or not at all. Pod addresses of business clusters are routed nowhere here anyway.
"""

from __future__ import annotations

from meta_cluster.assets.progress import say
from meta_cluster.lab import boot, layout
from meta_cluster.lab.docker import attempt, docker, labelled

CHAIN = "KOK-ISOLATION"
HOSTS = f"{layout.FIRST_HOST}-{layout.SUBNET[-2]}"
TO_HOSTS = ("-m", "iprange", "--dst-range", HOSTS)
RULES: tuple[tuple[str, ...], ...] = (
    ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"),
    ("-p", "tcp", "--dport", "22", "-j", "RETURN"),
    (*TO_HOSTS, "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"),
    (*TO_HOSTS, "-j", "REJECT", "--reject-with", "icmp-admin-prohibited"),
)
WAYS = ("FORWARD", "OUTPUT")


def script() -> str:
    """A shell script that puts the rules in place, each once; the chain is filled before anything is sent through it."""
    lines = [f"iptables -w -N {CHAIN} 2>/dev/null || iptables -w -F {CHAIN}"]
    lines += [f"iptables -w -A {CHAIN} {' '.join(rule)}" for rule in RULES]
    lines += [f"iptables -w -C {way} -j {CHAIN} 2>/dev/null || iptables -w -I {way} -j {CHAIN}" for way in WAYS]
    return "set -e\n" + "\n".join(lines)


def is_isolated(node: str) -> bool:
    """Whether both ways out of that meta node lead through the rules."""
    wanted = [f"iptables -w -C {way} -j {CHAIN}" for way in WAYS] + [f"iptables -w -C {CHAIN} {' '.join(rule)}" for rule in RULES]
    return attempt("exec", node, "sh", "-c", " && ".join(wanted)).returncode == 0


def ensure_isolation() -> None:
    """Every meta node of the lab, now and after each of its boots."""
    for node in meta_nodes():
        boot.keep(node, "isolation", script() + "\n")
        if not is_isolated(node):
            docker("exec", node, "sh", "-c", script())
            say(f"  isolation: from {node} only SSH goes to hosts ({HOSTS})")


def meta_nodes() -> list[str]:
    """Names of the containers that are nodes of the meta cluster."""
    return sorted(labelled("container", f"{layout.ROLE_LABEL}=meta"))

#!/usr/bin/python
"""Looks whether this host can be one of a meta cluster, and fails with all that is in the way. Changes nothing.

Arguments: `claim` of the meta cluster, `containers` (the host is a container: swap does not matter), `now` of who asks, in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule

OWNER = "/etc/kok/owner.json"
NODE_FILES = ("/etc/kubernetes/kubelet.conf", "/etc/kubernetes/admin.conf", "/etc/kubernetes/manifests/kube-apiserver.yaml")
PORTS = {6443: "kube-apiserver", 2379: "etcd", 2380: "etcd", 10250: "kubelet", 10257: "kube-controller-manager", 10259: "kube-scheduler"}
LEAST_CPUS, LEAST_MEMORY_MIB, LEAST_DISK_GIB, CLOCK_SECONDS = 2, 1700, 8, 120


def read(path):
    """A file's text; empty where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def owner():
    """Whose host this is by kok's own record."""
    try:
        return json.loads(read(OWNER) or "{}")
    except ValueError:
        return {"claim_uid": "unreadable"}


def listening():
    """TCP ports that somebody listens on."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in read(table).splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                found.add(int(words[1].rsplit(":", 1)[1], 16))
    return found


def ownership(claim):
    """What is in the way because the host is somebody's."""
    found = owner()
    if found and found.get("claim_uid") != claim:
        yield "it belongs to pool {} of cluster {} ({})".format(found.get("pool", "?"), found.get("cluster", "?"), OWNER)
    if found:
        return
    taken = [path for path in NODE_FILES if os.path.exists(path)]
    if taken:
        yield f"it is a node of some Kubernetes cluster already ({taken[0]} exists): kubeadm reset, or another host"
    busy = sorted(set(PORTS) & listening())
    if busy:
        yield f"port {busy[0]} is taken, {PORTS[busy[0]]} needs it"


def machine(containers):
    """What the machine lacks."""
    release = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    system, version = release.get("ID", "?").strip('"'), release.get("VERSION_ID", "?").strip('"')
    if (system, version) != ("debian", "12"):
        yield f"it runs {system} {version}; kok's packages are for debian 12"
    if not os.path.isdir("/run/systemd/system"):
        yield "systemd is not its init"
    if os.cpu_count() < LEAST_CPUS:
        yield f"it has {os.cpu_count()} CPU; kubeadm wants {LEAST_CPUS}"
    memory = int([*read("/proc/meminfo").split(), "0", "0"][1]) // 1024
    if memory < LEAST_MEMORY_MIB:
        yield f"it has {memory} MiB of memory; kubeadm wants {LEAST_MEMORY_MIB}"
    free = shutil.disk_usage("/var").free // 2**30
    if free < LEAST_DISK_GIB:
        yield f"only {free} GiB are free on /var; a control plane with its images wants {LEAST_DISK_GIB}"
    if not containers and len(read("/proc/swaps").splitlines()) > 1:
        yield "it swaps; swapoff -a, and take swap out of /etc/fstab"


def clock(now):
    """Whether certificates would be valid here."""
    ahead = time.time() - now
    if abs(ahead) > CLOCK_SECONDS:
        yield "its clock is {:.0f} s {} of the machine that asks; set up NTP".format(abs(ahead), "ahead" if ahead > 0 else "behind")


def main():
    """Entry point."""
    spec = {"claim": {"type": "str", "required": True}, "containers": {"type": "bool"}, "now": {"type": "float", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    asked = module.params
    found = [*ownership(asked["claim"]), *machine(asked["containers"]), *clock(asked["now"])]
    if found:
        module.fail_json(msg="; ".join(found))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()

"""The lab's hosts: containers that are ordinary servers with systemd and sshd, and what can happen to servers. No package of kok is put on them.

reboot: systemd ends, the container starts again (a new boot id, the same disk). kill: power lost. reinstall: a new disk, so a new SSH host key.
partition: the far end of its cable is pulled; its interface, address and routes stay, as those of a real server do (a container that docker takes off
its network comes back with another interface and without routes). Every verb refuses containers that are not the lab's.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from meta_cluster.assets.debian import install_tools
from meta_cluster.assets.processes import run
from meta_cluster.lab import layout
from meta_cluster.lab.docker import attempt, docker, inspect, labelled
from meta_cluster.lab.ground import Ground, power_options
from operators.errors import ErrorCode, KokError

UP_SECONDS = 60
INTERFACE = "/sys/class/net/eth*"
"""It has one."""
SET_LINK = 'link=$(ip -o link | sed -n "s/^$1: \\([^@:]*\\).*/\\1/p"); test -n "$link" && ip link set "$link" "$2"'
"""$1: the number of the interface among the machine's, $2: up or down."""
VOLUMES = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd")


@dataclass(frozen=True, slots=True)
class Host:
    """One host as a MachinePool wants to know it. `host_keys` is empty while the host does not run."""

    name: str
    address: str
    state: str
    host_keys: tuple[str, ...]
    port: int = 22
    user: str = "root"


def free_address(taken: Iterable[str]) -> IPv4Address:
    """The first address for a host that nobody has. Raises KokError when the network is full."""
    used = {IPv4Address(address) for address in taken}
    for address in layout.SUBNET.hosts():
        if address >= layout.FIRST_HOST and address not in used:
            return address
    raise KokError(ErrorCode.LabFailed, f"no address is free in {layout.SUBNET}", "kok lab down, or remove hosts")


def run_words(name: str, *, address: IPv4Address, image: str, ground: Ground, key: str) -> list[str]:
    """The whole `docker run` of a host."""
    volumes = [word for path in VOLUMES for word in ("--volume", path)]
    labels = [layout.LABELLED, f"{layout.ROLE_LABEL}=host", f"{layout.ADDRESS_LABEL}={address}"]
    return [
        *("run", "--pull", "never", "--detach", "--name", name, "--hostname", name, "--network", layout.NETWORK, "--ip", str(address)),
        *("--dns", str(layout.GATEWAY)),  # where nobody answers: names of the outside are refused at once
        *(word for label in labels for word in ("--label", label)),
        *("--restart", "always", "--cgroupns", "private", "--stop-signal", "SIGRTMIN+3", "--tmpfs", "/run", "--tmpfs", "/tmp"),  # noqa: S108
        *(*volumes, "--volume", "/lib/modules:/lib/modules:ro", "--env", f"KOK_AUTHORIZED_KEY={key}"),
        *(*power_options(ground), image),
    ]


def ensure_ssh_key() -> str:
    """The public half of the lab's SSH key, made at the first call."""
    path = layout.ssh_key_path()
    if not path.exists():
        install_tools([("ssh-keygen", "openssh-client")])
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kok-lab", "-f", path])
    return path.with_suffix(".pub").read_text().strip()


def host_names() -> list[str]:
    """All hosts of the lab, running or not."""
    return labelled("container", f"{layout.ROLE_LABEL}=host")


def host(name: str) -> Host:
    """What is known of a host now. Raises KokError NotFound if the lab has none of that name."""
    known = _known(name)
    read = ("sh", "-c", f"cat {INTERFACE}/carrier; cat /etc/ssh/ssh_host_ed25519_key.pub")
    seen = attempt("exec", name, *read).stdout.split() if known["State"]["Running"] else []
    linked, *words = seen or ["1"]
    state = known["State"]["Status"] if linked != "0" else "partitioned"
    keys = (" ".join(words[:2]),) if words else ()
    return Host(name, known["Config"]["Labels"][layout.ADDRESS_LABEL], state, keys)


def _known(name: str) -> Mapping[str, Any]:
    known = inspect("container", name)
    labels = known["Config"]["Labels"] if known else {}
    if known is None or labels.get(layout.LABEL) != layout.LABEL_VALUE or labels.get(layout.ROLE_LABEL) != "host":
        raise KokError(ErrorCode.NotFound, f"the lab has no host {name}", "kok lab host list")
    return known


def add(name: str, *, image: str, ground: Ground, address: IPv4Address | None = None) -> Host:
    """Start a host; one that is there already is started if it stopped, and otherwise left alone."""
    if name in host_names():
        if not _known(name)["State"]["Running"]:
            docker("start", name)
    else:
        if inspect("container", name) is not None:
            raise KokError(ErrorCode.AlreadyExists, f"a container {name} exists that is not the lab's", "choose another name")
        taken = [str(_known(other)["Config"]["Labels"][layout.ADDRESS_LABEL]) for other in host_names()]
        docker(*run_words(name, address=address or free_address(taken), image=image, ground=ground, key=ensure_ssh_key()))
    return wait_until_up(name)


def reboot(name: str) -> Host:
    """An orderly reboot; returns when the host answers again with a new boot id."""
    before = _boot_id(name)
    attempt("exec", name, "systemctl", "reboot")
    _wait(lambda: _boot_id(name) not in ("", before), f"{name} did not reboot")
    return wait_until_up(name)


def kill(name: str) -> Host:
    """Cut the power; the host stays off until `start`."""
    _known(name)
    docker("kill", name)
    return host(name)


def start(name: str) -> Host:
    """Power on."""
    _known(name)
    docker("start", name)
    return wait_until_up(name)


def reinstall(name: str, *, image: str, ground: Ground) -> Host:
    """A new system on a new disk under the same name and address; the SSH host key is a new one."""
    address = IPv4Address(host(name).address)
    docker("rm", "--force", "--volumes", name)
    return add(name, image=image, ground=ground, address=address)


def partition(name: str) -> Host:
    """Take the host off the network; it runs on."""
    if host(name).state != "partitioned":
        _set_link(name, "down")
    return host(name)


def heal(name: str) -> Host:
    """Plug it in again."""
    if host(name).state == "partitioned":
        _set_link(name, "up")
    return wait_until_up(name)


def _set_link(name: str, state: str) -> None:
    """Switch the machine's end of the host's cable; by a container on the machine's network, since who runs this need not be root."""
    number, image = docker("exec", name, "sh", "-c", f"cat {INTERFACE}/iflink").strip(), str(_known(name)["Config"]["Image"])
    rights = ("--network", "host", "--cap-add", "NET_ADMIN", "--label", layout.LABELLED)
    docker("run", "--rm", "--pull", "never", *rights, "--entrypoint", "/bin/sh", image, "-c", SET_LINK, "sh", number, state)


def console(name: str, command: list[str]) -> int:
    """Run a command as someone at the host's own console would, with this terminal; its exit code."""
    _known(name)
    return subprocess.run(["docker", "exec", name, *command], check=False).returncode


def remove(name: str) -> None:
    """Remove a host with its disks."""
    _known(name)
    docker("rm", "--force", "--volumes", name)


def wait_until_up(name: str) -> Host:
    """Until systemd has started sshd and the host key is known."""
    _wait(lambda: attempt("exec", name, "systemctl", "is-active", "--quiet", "ssh").returncode == 0, f"sshd does not start on {name}")
    return host(name)


def _boot_id(name: str) -> str:
    done = attempt("exec", name, "cat", "/proc/sys/kernel/random/boot_id")
    return done.stdout.strip() if done.returncode == 0 else ""


def _wait(ready: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise KokError(ErrorCode.LabFailed, f"{complaint} within {UP_SECONDS}s", "kok lab status")
        time.sleep(0.2)

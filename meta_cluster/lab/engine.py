"""The Docker engine, the lab's network and the fence around it: used if they are there, made if not. Started engines are ended by `stop_engine`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from meta_cluster.assets.debian import install_tools
from meta_cluster.assets.processes import run
from meta_cluster.assets.progress import say
from meta_cluster.lab import layout
from meta_cluster.lab.docker import attempt, docker, inspect
from operators.errors import ErrorCode, KokError

TOOLS = (("docker", "docker.io"), ("iptables", "iptables"))
ENGINE_TOOLS = (("dockerd", "docker.io"), ("containerd", "containerd"), ("iptables", "iptables"))
START_SECONDS = 40
CHAIN = "DOCKER-USER"
OUTWARD = ("-i", layout.BRIDGE, "!", "-o", layout.BRIDGE)
# Refused, not dropped: what asks outside learns it at once instead of waiting. TCP is reset, because the kernel sends a host
# only about one ICMP refusal a second (net.ipv4.icmp_ratelimit).
FENCE: tuple[tuple[str, ...], ...] = (
    (*OUTWARD, "-m", "comment", "--comment", "kok-lab", "-j", "REJECT", "--reject-with", "icmp-admin-prohibited"),
    (*OUTWARD, "-p", "tcp", "-m", "comment", "--comment", "kok-lab", "-j", "REJECT", "--reject-with", "tcp-reset"),
)
"""The rules in the order of insertion: each goes in front of the one before."""


INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS = 1024


def ensure_inotify(limit: Path = INOTIFY) -> None:
    """Raise the number of file watchers per user: the usual 128 are used up by the systemd and kubelet of a handful of machines.

    The remedy of kind's documentation ("too many open files"). Without the right to do so it is said, and the lab is tried as it is.
    """
    now = int(limit.read_text())
    if now >= WATCHERS:
        return
    try:
        limit.write_text(str(WATCHERS))
    except OSError as error:
        say(
            f"  kernel: fs.inotify.max_user_instances is {now} and cannot be raised ({error.strerror}): more than five machines may not start"
        )
    else:
        say(f"  kernel: fs.inotify.max_user_instances raised from {now} to {WATCHERS}")


def ensure_engine() -> None:
    """Use the engine that answers; else start one: through systemd where that is pid 1, else as a child that outlives this process."""
    install_tools([("docker", "docker.io")])
    if attempt("info").returncode == 0:
        return
    install_tools(ENGINE_TOOLS)
    if attempt("info").returncode == 0:
        return
    if Path("/run/systemd/system").is_dir():
        say("  docker: starting docker.service")
        run(["systemctl", "start", "docker"])
    else:
        _start_dockerd()
    _wait_for_engine()


def _start_dockerd() -> None:
    log = layout.state_folder() / "dockerd.log"
    say(f"  docker: starting dockerd in the background, log in {log}")
    with log.open("ab") as output:
        process = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    _pid_file().write_text(str(process.pid))


def _wait_for_engine() -> None:
    deadline = time.monotonic() + START_SECONDS
    while attempt("info").returncode != 0:
        if time.monotonic() > deadline:
            log = layout.state_folder() / "dockerd.log"
            raise KokError(ErrorCode.LabFailed, f"dockerd does not answer after {START_SECONDS}s", f"tail {log}")
        time.sleep(0.3)


def stop_engine() -> bool:
    """End the engine if this lab started it and no container of anybody is left; True if it was ended."""
    try:
        pid = int(_pid_file().read_text())
        command = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return False
    if command != "dockerd" or docker("ps", "--all", "--quiet").strip():
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_SECONDS
    while _runs(pid) and time.monotonic() < deadline:  # an `up` right after must not meet an engine that is going
        time.sleep(0.2)
    _pid_file().unlink()
    return True


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def _pid_file() -> Path:
    return layout.state_folder() / "dockerd.pid"


def ensure_network() -> None:
    """The lab's network with its fixed subnet and bridge name. Raises KokError if a network of that name is not the lab's."""
    known = inspect("network", layout.NETWORK)
    if known is None:
        options = ["--subnet", str(layout.SUBNET), "--gateway", str(layout.GATEWAY), "--label", layout.LABELLED]
        docker("network", "create", *options, "--opt", f"com.docker.network.bridge.name={layout.BRIDGE}", layout.NETWORK)
        say(f"  network {layout.NETWORK}: {layout.SUBNET} on {layout.BRIDGE}")
    elif known["Labels"].get(layout.LABEL) != layout.LABEL_VALUE:
        hint = f"docker network rm {layout.NETWORK}, if nobody uses it"
        raise KokError(ErrorCode.LabFailed, f"a docker network {layout.NETWORK} exists that is not the lab's", hint)


def ensure_fence() -> None:
    """Refuse whatever the lab's bridge would forward to another interface: nothing of the lab leaves this machine."""
    if fence_is_up():
        return
    remove_fence()
    for rule in FENCE:
        _iptables("-I", rule)
    say(f"  fence: nothing leaves {layout.NETWORK} ({CHAIN} rejects it)")


def remove_fence() -> None:
    """Take the rules away again, however often they are there."""
    for rule in FENCE:
        while _iptables("-C", rule, check=False):
            _iptables("-D", rule)


def fence_is_up() -> bool:
    """Whether all rules are in place."""
    return all(_iptables("-C", rule, check=False) for rule in FENCE)


def _iptables(verb: str, rule: tuple[str, ...], *, check: bool = True) -> bool:
    command = ["iptables", "-w", verb, CHAIN, *rule]
    if os.geteuid() != 0:
        command = ["sudo", "-n", *command]
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if check and done.returncode != 0:
        raise KokError(
            ErrorCode.LabFailed, f"cannot fence the lab's network: {done.stderr.strip()}", "run as root, or allow sudo for iptables"
        )
    return done.returncode == 0

"""What this machine's Docker can do: privileged containers or not, which cgroups. Found out by trying, said in one line; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from meta_cluster.lab.docker import attempt, docker
from meta_cluster.lab.layout import LABELLED


@dataclass(frozen=True, slots=True)
class Ground:
    """Facts that decide how machines are run. `cgroup` is 1 or 2."""

    privileged: bool
    cgroup: int

    @property
    def sentence(self) -> str:
        """The same facts for a person."""
        how = (
            "hosts run as privileged containers"
            if self.privileged
            else "hosts run without --privileged, which this machine refuses (no CAP_SYS_RESOURCE); nothing to worry about"
        )
        return f"docker: cgroup v{self.cgroup}; {how}"


def find_ground(image: str) -> Ground:
    """Try a privileged container of an image that is already here, and ask the engine for its cgroup version."""
    tried = attempt("run", "--rm", "--pull=never", "--privileged", "--network=none", "--label", LABELLED, "--entrypoint=/bin/true", image)
    return Ground(privileged=tried.returncode == 0, cgroup=int(docker("info", "--format", "{{.CgroupVersion}}")))


def power_options(ground: Ground) -> list[str]:
    """The `docker run` words that let systemd, containerd and a kubelet work inside: `--privileged`, or its parts without what is missing."""
    if ground.privileged:
        return ["--privileged"]
    return [
        "--cap-add=ALL",
        "--cap-drop=SYS_RESOURCE",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined",
        "--device-cgroup-rule=a *:* rwm",
    ]

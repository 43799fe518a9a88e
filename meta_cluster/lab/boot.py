"""What a meta node does at each of its boots, before its kubelet starts: a restart of its container leaves it no routes and no rules.

Scripts stand in one folder of the node, run in the order of their names by one unit. Called by `isolation` and `meta_nodes`.
"""

from __future__ import annotations

from meta_cluster.lab.docker import attempt, docker

FOLDER = "/etc/kok/boot.d"
UNIT = "kok-boot.service"
SERVICE = f"""[Unit]
Description=routes and rules of the kok lab
Before=containerd.service kubelet.service

[Service]
Type=oneshot
ExecStart=/bin/sh -ec 'for script in {FOLDER}/*.sh; do sh -e "$script"; done'

[Install]
WantedBy=multi-user.target
"""


def keep(node: str, name: str, script: str) -> None:
    """Have `script` (a whole shell script that may run again) run at each boot of that node from now on; looks first. Raises KokError LabFailed."""
    place = f"{FOLDER}/{name}.sh"
    kept = attempt("exec", node, "cat", place, f"/etc/systemd/system/{UNIT}").stdout == script + SERVICE
    if kept and attempt("exec", node, "systemctl", "is-enabled", UNIT).returncode == 0:
        return
    docker("exec", "-i", node, "sh", "-c", f"mkdir -p {FOLDER} && cat > {place}", stdin=script)
    docker("exec", "-i", node, "sh", "-c", f"cat > /etc/systemd/system/{UNIT} && systemctl enable {UNIT}", stdin=SERVICE)

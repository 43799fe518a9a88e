"""The private folder of one Ansible run: inventory, keys, pinned host keys, data. Everything secret is a 0600 file here, never an argument or a variable
of the environment. Written by adapters/ansible.py on tmpfs and removed after the run.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import operators
from operators.adapters.host_wire import Detail, artifact_wire, owner_wire, package_wire
from operators.ports.ansible import AnsibleJob, HostWork, JobAction
from operators.ports.ssh import SshTarget

PLAYBOOKS = {JobAction.Apply: "apply.yml", JobAction.Clean: "clean.yml", JobAction.Stage: "stage.yml"}
SSH_OPTIONS = (
    "-F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null"
    " -o UserKnownHostsFile={folder}/known_hosts -o UpdateHostKeys=no -o PreferredAuthentications=publickey"
    " -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
    " -o Ciphers=^aes128-gcm@openssh.com"  # twice as fast as the default where the CPU knows AES; artifacts are hundreds of MB
    " -o ControlMaster=auto -o ControlPersist=30s -o LogLevel=ERROR"
)


def write_folder(folder: Path, job: AnsibleJob, artifacts: Mapping[str, Path], *, playbooks: Path, forks: int) -> None:
    """Writes everything the child reads. `artifacts`: digest -> verified local file."""
    for name in ("keys", "tmp", "cp"):
        (folder / name).mkdir(mode=0o700)
    hosts = {}
    for work in job.hosts:
        key = folder / "keys" / work.target.name
        _private(key, work.target.private_key.rstrip("\n") + "\n")
        hosts[work.target.name] = _connection(work.target, key) | _data(work, artifacts, action=job.action)
    _private(folder / "known_hosts", "".join(known_hosts_lines(work.target) for work in job.hosts))
    _private(folder / "hosts.json", json.dumps({"all": {"hosts": hosts}}))
    play = {"ident": job.ident, "playbook": str(playbooks / PLAYBOOKS[job.action]), "forks": min(forks, len(job.hosts))}
    _private(folder / "job.json", json.dumps(play))


def known_hosts_lines(target: SshTarget) -> str:
    """The pinned keys as OpenSSH reads them."""
    host = target.address if target.port == 22 else f"[{target.address}]:{target.port}"
    return "".join(f"{host} {key}\n" for key in target.host_keys)


def environment(folder: Path) -> dict[str, str]:
    """The whole environment of the child: nothing of ours leaks in."""
    folders = [str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {
        "PATH": os.pathsep.join(folders),
        "PYTHONPATH": str(Path(operators.__file__).resolve().parent.parent),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "ANSIBLE_HOME": str(folder / ".ansible"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_REMOTE_TEMP": "/tmp/.kok-ansible",  # noqa: S108 - on the host, used only by a module too large for a pipe; none is
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_INVENTORY_ENABLED": "yaml",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_SSH_ARGS": SSH_OPTIONS.format(folder=folder),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_SSH_RETRIES": "1",
        "ANSIBLE_TIMEOUT": "10",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
    }


def _connection(target: SshTarget, key: Path) -> dict[str, Any]:
    return {
        "ansible_host": target.address,
        "ansible_port": target.port,
        "ansible_user": target.user,
        "ansible_ssh_private_key_file": str(key),
        "ansible_become": target.user != "root",
    }


def _data(work: HostWork, artifacts: Mapping[str, Path], *, action: JobAction) -> dict[str, Any]:
    """What the playbook reads. In base64: Ansible would otherwise take `{{ }}` in somebody's file for its own templates."""
    owner = owner_wire(work.owner)
    if action is JobAction.Clean:
        return {"kok_take": _encoded({"owner": owner})}
    if action is JobAction.Stage:
        return _staging(work, artifacts)
    digests = {artifact.sha256 for package in work.packages for artifact in package.artifacts if artifact.sha256 in artifacts}
    take = {
        "owner": owner,
        "bootstrap": work.bootstrap_kubeconfig,
        "packages": [package_wire(package, Detail.Digests) for package in work.packages],
        "sizes": {digest: artifacts[digest].stat().st_size for digest in digests},
    }
    removals = [{"title": f"remove {component}", "data": _encoded({"owner": owner, "remove": component})} for component in work.remove]
    applies = [
        {"title": f"apply {package.name}", "data": _encoded({"owner": owner, "package": package_wire(package, Detail.Contents)})}
        for package in work.packages
    ]
    return {
        "kok_take": _encoded(take),
        "kok_sources": {digest: str(artifacts[digest]) for digest in digests},
        "kok_steps": removals + applies,
    }


def _staging(work: HostWork, artifacts: Mapping[str, Path]) -> dict[str, Any]:
    digests = {artifact.sha256 for artifact in work.artifacts if artifact.sha256 in artifacts}
    take = {
        "owner": owner_wire(work.owner),
        "artifacts": [artifact_wire(artifact) for artifact in work.artifacts],
        "keep": sorted(work.keep),
        "sizes": {digest: artifacts[digest].stat().st_size for digest in digests},
    }
    return {"kok_take": _encoded(take), "kok_sources": {digest: str(artifacts[digest]) for digest in digests}}


def _encoded(data: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(data).encode()).decode()


def _private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)

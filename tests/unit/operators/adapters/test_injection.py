"""What a package says reaches the host as it stands: nothing of it lies in Ansible's variables where Ansible would look for templates."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from operators.adapters.ansible_folder import write_folder
from operators.api.packages import MachinePackageVersion
from operators.domain.machine.host import Owner
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from operators.ports.ansible import AnsibleJob, HostWork, JobAction
from operators.ports.ssh import SshTarget

HOSTILE = "{{ lookup('pipe', 'id') }}"
RAW = "{% raw %}" + HOSTILE + "{% endraw %}"
"""In what is a template by design, the words for the same literal text."""
FACTS = HostFacts(NodeFacts("m1", "10.0.0.1"), ClusterFacts("demo", "https://e:6443", "ca", "10.97.0.10", "cluster.local", "10.245.0.0/16"))


def hostile_package() -> MachinePackageVersion:
    spec = {
        "component": "x",
        "version": "1",
        "files": [{"path": "/etc/x", "content": RAW}],
        "units": [{"name": "x.service", "content": RAW}],
        "sysctls": {"kernel.x": HOSTILE},
        "observe": {"command": ["x", HOSTILE], "pattern": HOSTILE},
        "remove": {"commands": [HOSTILE]},
        "description": HOSTILE,
    }
    manifest = {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", "metadata": {"name": "x-1-r1"}, "spec": spec}
    return MachinePackageVersion.model_validate(manifest)


def test_should_keep_every_free_text_away_from_ansibles_templates(tmp_path: Path) -> None:
    target = SshTarget("m1", "10.0.0.1", 22, "root", ("ssh-ed25519 AAAA",), "key")
    work = HostWork(
        target, Owner("uid", "demo", "workers", 1), (desired_package(hostile_package(), FACTS),), bootstrap_kubeconfig=HOSTILE, grant=None
    )
    write_folder(tmp_path, AnsibleJob("j", JobAction.Apply, (work,), 60.0), {}, playbooks=tmp_path, forks=1)
    text = (tmp_path / "hosts.json").read_text()
    assert "{{" not in text
    assert "{%" not in text
    step = json.loads(text)["all"]["hosts"]["m1"]["kok_steps"][0]
    sent = base64.b64decode(step["data"]).decode()
    assert sent.count("lookup('pipe', 'id')") >= 4, "file, unit, setting and command arrive as they stand"
    assert "49" not in sent

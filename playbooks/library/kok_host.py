#!/usr/bin/python
"""Takes a host, tells which artifacts it lacks and makes room for them. First task of every play; the action plugin of the same name sends them.

Arguments: `data`, base64 of {owner, bootstrap, packages, sizes}. Base64, because Ansible would otherwise read `{{ }}` in a file's content as its own.
"""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kok_host import bootstrap, cache, observe, owner
from ansible.module_utils.kok_host.job import decoded, guarded


def take(data):
    """What changed, and the digests that have to be sent."""
    changes = ["owner"] if owner.take(data["owner"]) else []
    changes += bootstrap.provide(data["bootstrap"])
    lacking = cache.lacks(digest for package in data["packages"] for digest in wanted_digests(package))
    sizes = {digest: data["sizes"].get(digest, 0) for digest in lacking}
    if sizes:
        cache.prepare(sizes)
    return {"changed": bool(changes), "changes": changes, "send": lacking}


def wanted_digests(package):
    """Artifacts of a package that this host has not installed and does not fetch by itself."""
    record = owner.load_record(package["component"]).get("artifacts", {})
    for artifact in package["artifacts"]:
        if artifact["method"] == "Push" and not observe.artifact_present(artifact, record.get(artifact["name"], {})):
            yield artifact["sha256"]


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec={"data": {"type": "str", "required": True, "no_log": True}})
    data = decoded(module.params["data"])
    guarded(module, data["owner"], lambda: take(data))


if __name__ == "__main__":
    main()

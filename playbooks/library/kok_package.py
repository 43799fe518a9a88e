#!/usr/bin/python
"""Makes one package true on a host, or removes one component.

Arguments: `data`, base64 of {owner, package} or {owner, remove}.
"""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kok_host import package, removal
from ansible.module_utils.kok_host.job import decoded, guarded


def make_true(data):
    """What changed."""
    changes = package.apply(data["package"]) if "package" in data else removal.remove_component(data["remove"])
    return {"changed": bool(changes), "changes": changes}


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec={"data": {"type": "str", "required": True, "no_log": True}})
    data = decoded(module.params["data"])
    guarded(module, data["owner"], lambda: make_true(data))


if __name__ == "__main__":
    main()

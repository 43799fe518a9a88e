#!/usr/bin/python
"""Removes everything of kok from a host, the owner file last.

Arguments: `data`, base64 of {owner}.
"""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kok_host import removal
from ansible.module_utils.kok_host.job import decoded, guarded


def clean():
    """What went."""
    changes = removal.clean()
    return {"changed": bool(changes), "changes": changes}


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec={"data": {"type": "str", "required": True, "no_log": True}})
    data = decoded(module.params["data"])
    guarded(module, data["owner"], clean)


if __name__ == "__main__":
    main()

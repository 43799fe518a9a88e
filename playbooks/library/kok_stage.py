#!/usr/bin/python
"""Stages artifacts in the host's store: tells which are lacking (phase Begin), takes in what was sent (phase End). The action plugin of the same name sends.

Arguments: `data`, base64 of {owner, artifacts, keep, sizes}; `phase`.
"""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kok_host import staging
from ansible.module_utils.kok_host.failure import Failure
from ansible.module_utils.kok_host.job import decoded

PHASES = {"Begin": staging.begin, "End": staging.end}


def main():
    """Entry point. Takes the host's lock where it writes, not around all of it."""
    arguments = {"data": {"type": "str", "required": True, "no_log": True}, "phase": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec=arguments)
    try:
        result = PHASES[module.params["phase"]](decoded(module.params["data"]))
    except (Failure, OSError) as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(**result)


if __name__ == "__main__":
    main()

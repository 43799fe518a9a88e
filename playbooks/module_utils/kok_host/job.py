"""What the modules share: unpacking their argument, passing lock and fence, and turning a Failure into Ansible's."""

from __future__ import annotations

import base64
import json

from . import owner
from .failure import Failure


def decoded(data):
    """The argument of a module."""
    return json.loads(base64.b64decode(data))


def guarded(module, owner_data, act):
    """Runs `act` as the host's owner, alone, and ends the module with its result."""
    try:
        with owner.locked():
            owner.fence(owner_data)
            result = act()
    except (Failure, OSError) as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(**result)

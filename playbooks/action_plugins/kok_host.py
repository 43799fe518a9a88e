"""Runs the module kok_host on the host and sends what it lacks: one task, one SSH connection, each artifact once and only where it is missing.

Ansible's `copy` would hash, stat and move every file in four round trips; here a digest names the content, and the host verifies it before use.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

INCOMING = "/var/cache/kok/incoming"


class ActionModule(ActionBase):
    """`data` goes to the module, `sources` (digest -> local path) stays here."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ansible's entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(module_name="kok_host", module_args={"data": self._task.args["data"]}, task_vars=task_vars))
        if result.get("failed") or result.get("unreachable"):
            return result
        for digest in result.get("send", ()):
            self._send(self._task.args["sources"], digest)
        result["changed"] = bool(result.get("changed") or result.get("send"))
        return result

    def _send(self, sources: dict[str, str], digest: str) -> None:
        if digest not in sources:
            raise AnsibleError(f"the host lacks artifact {digest[:12]}, which this job does not carry")
        self._connection.put_file(sources[digest], f"{INCOMING}/{digest}")

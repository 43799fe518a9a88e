"""Runs the module kok_stage on the host, sends what it lacks, and runs it again to take that in: one task, and only one run where nothing is lacking."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

FOLDER = "/var/cache/kok/staging"


class ActionModule(ActionBase):
    """`data` goes to the module, `sources` (digest -> local path) stays here."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ansible's entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self._phase("Begin", task_vars))
        if result.get("failed") or result.get("unreachable") or not result.get("send"):
            return result
        for digest in result["send"]:
            self._send(self._task.args["sources"], digest)
        result.update(self._phase("End", task_vars))
        return result

    def _phase(self, phase: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {"data": self._task.args["data"], "phase": phase}
        found: dict[str, Any] = self._execute_module(module_name="kok_stage", module_args=arguments, task_vars=task_vars)
        return found

    def _send(self, sources: dict[str, str], digest: str) -> None:
        if digest not in sources:
            raise AnsibleError(f"the host lacks artifact {digest[:12]}, which this job does not carry")
        self._connection.put_file(sources[digest], f"{FOLDER}/{digest}")

"""Which worker runs which file next: one that stays in its folder, so that the servers of a folder are started once, and no worker is alone at the end.

Called by xdist (`-n 2 --dist loadgroup`) through conftest.py, in the process that starts the workers. Files are never torn apart: their
tests share what is in their servers.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePath
from typing import Any

from xdist.scheduler import LoadScopeScheduling

SECONDS = {"cluster_operator": 5.0, "machine_operator": 5.0, "rollout": 2.0, "plane": 2.0, "lab host": 30.0, "api": 0.1, "assets": 0.1}
"""What a test of that folder takes, roughly; a second elsewhere. Only the order follows from it: what cannot be shared begins first."""


HOST = "adapters_host"
"""The folder whose tests share the one host of the lab."""


def group_of(nodeid: str) -> str:
    """What must stay together: the tests of a file; of all files that need the lab's host. From the name alone: xdist's own way to tell
    groups, an ending of the name, is lost with pytest 9.
    """
    path = nodeid.partition("::")[0]
    return "lab host" if PurePath(path).parent.name == HOST else path


def folder_of(group: str) -> str:
    """The folder whose servers a group of tests uses; a group is a file's path, or the name of a thing that is shared."""
    return PurePath(group).parent.name or group


def weight_of(group: str, tests: int) -> float:
    """Seconds, roughly."""
    return tests * SECONDS.get(folder_of(group), 1.0)


def next_group(waiting: dict[str, float], mine: str, of_others: set[str]) -> str:
    """The group that a worker takes that is in folder `mine`: of the same folder, else of one that nobody is in; always what is most work."""
    left: dict[str, float] = defaultdict(float)
    for group, weight in waiting.items():
        left[folder_of(group)] += weight

    def worth(group: str) -> tuple[bool, bool, float, float, str]:
        folder = folder_of(group)
        return folder == mine, folder not in of_others, left[folder], waiting[group], group

    return max(waiting, key=worth)


class FolderScheduling(LoadScopeScheduling):
    """xdist's scheduling by scope, with other scopes and another choice of what comes next."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        waiting = {group: weight_of(group, len(tests)) for group, tests in self.workqueue.items()}
        self.workqueue.move_to_end(next_group(waiting, self._folder(node), self._folders_of_others(node)), last=False)
        super()._assign_work_unit(node)

    def schedule(self) -> None:
        """A worker begins its last test only when it knows that it is the last: one that came in place of another has two groups, too."""
        super().schedule()
        for node in self.nodes:
            self._reschedule(node)

    def remove_node(self, node: Any) -> str | None:
        """A worker has ended. The test that it died in is failed and done with; what it had not begun is for the others.

        xdist's own puts back whole groups, what is done of them too: a group of which nothing is left never ends, and nor does the run.
        """
        groups = self.assigned_work.pop(node)
        left = {group: {test: False for test, done in tests.items() if not done} for group, tests in groups.items()}
        left = {group: tests for group, tests in left.items() if tests}
        if not left:
            return None
        first = next(iter(left))
        died_in: str = next(iter(left[first]))
        del left[first][died_in]
        self.workqueue.update({group: tests for group, tests in left.items() if tests})
        for other in self.assigned_work:
            self._reschedule(other)
        return died_in

    def _folder(self, node: Any) -> str:
        """Where a worker was sent last."""
        groups = list(self.assigned_work.get(node, ()))
        return folder_of(groups[-1]) if groups else ""

    def _folders_of_others(self, node: Any) -> set[str]:
        return {self._folder(other) for other in self.assigned_work if other is not node}

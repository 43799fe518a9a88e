"""Which stored objects a minor could not serve: what its API servers have on offer, by packages/served/<minor>.txt and the flags set. Pure.

Nothing is lost by such objects: they lie in etcd unseen until a version that knows them serves again. But nobody can read, change or delete
them, and no controller does its work, so a way back is refused while there are any, unless it is confirmed. Called by release and release_look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NAMED = 3
"""Objects of a resource that are named in the words."""
_LEVELS = {"api/alpha": re.compile(r"v\d+alpha\d+"), "api/beta": re.compile(r"v\d+beta\d+"), "api/ga": re.compile(r"v\d+")}


@dataclass(frozen=True, slots=True, order=True)
class ServedApi:
    """One resource at one version, as a minor's API servers know it."""

    group_version: str
    """`storage.k8s.io/v1`; of the core group `v1`."""
    resource: str
    by_default: bool = True

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return self.group_version.rpartition("/")[0]

    @property
    def name(self) -> str:
        """`volumeattributesclasses.storage.k8s.io`, whatever the version."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of a resource: the names that were read, and how many objects there are beside."""

    names: tuple[str, ...]
    more: int = 0


def parse_served(text: str) -> tuple[ServedApi, ...]:
    """Lines `group/version resource`, with ` off` behind those that only a flag turns on."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    return tuple(ServedApi(row[0], row[1], row[2:] != ["off"]) for row in rows)


def is_on(api: ServedApi, runtime_config: str) -> bool:
    """Whether that flag leaves it on: the most special entry decides, as in the API server."""
    entries = (entry.partition("=") for entry in runtime_config.split(",") if entry)
    given = {name: value != "false" for name, _, value in entries}
    version = api.group_version.rpartition("/")[2]
    level = next((name for name, pattern in _LEVELS.items() if pattern.fullmatch(version)), "")
    for name in (f"{api.group_version}/{api.resource}", api.group_version, level, "api/all"):
        if name in given:
            return given[name]
    return api.by_default


def lost_to(lower: Iterable[ServedApi], upper: Iterable[ServedApi], lower_config: str, upper_config: str) -> tuple[ServedApi, ...]:
    """Resources that the upper minor may have stored and the lower one serves at no version; one version of each, to look at them by."""
    there = {each.name for each in lower if is_on(each, lower_config)}
    gone = {each.name: each for each in sorted(upper) if is_on(each, upper_config) and each.name not in there}
    return tuple(gone[name] for name in sorted(gone))


def words_of_stored(api: ServedApi, stored: Stored) -> str:
    """`2 volumeattributesclasses.storage.k8s.io (gold, silver)`; empty if there are none."""
    number = len(stored.names) + stored.more
    if not number:
        return ""
    more = ", ..." if number > NAMED else ""
    return f"{number} {api.name} ({', '.join(sorted(stored.names)[:NAMED])}{more})"

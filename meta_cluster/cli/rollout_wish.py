"""From the words of a command line to a FleetRollout. Pure: asks nobody, creates nothing; used by `kok upgrade` and `kok plan`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from operators.api.base import API_VERSION
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest

SPAN = re.compile(r"^(0|[1-9][0-9]{0,6})(s|m|h|d)?$")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PERCENT = re.compile(r"^([1-9][0-9]?|100)%$")
REST = "rest"
CANARY = "canary"


@dataclass(frozen=True, slots=True)
class UpgradeWords:
    """What the options said, as text."""

    to: str
    selector: str
    canaries: tuple[str, ...] = ()
    stages: str = "rest"
    soak: str = "10m"
    max_parallel: int = 1
    approve_each: bool = False
    pause_on_fail: bool = False
    by: str = ""
    reason: str = ""
    of_machines: bool = False
    """Whether `to` is a MachinePackageVersion: then the members are MachinePools."""


def seconds_of(word: str, option: str) -> int:
    """`90s`, `10m`, `2h`, `1d`, `0`. Raises KokError Usage for anything else."""
    found = SPAN.match(word)
    if not found or (found[2] is None and found[1] != "0"):
        raise KokError(ErrorCode.Usage, f"{option} {word}: not a duration", "a number and s, m, h or d: 90s, 10m, 2h")
    return int(found[1]) * UNITS[found[2] or "s"]


def labels_of(selector: str) -> dict[str, str]:
    """`env=prod,zone=z1`. Raises KokError Usage; an empty one selects nothing and is refused."""
    if not selector.strip():
        raise KokError(ErrorCode.Usage, "no --selector: nothing is selected", "name the clusters by their labels: --selector env=prod")
    labels = {}
    for part in selector.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or not key or "=" in value or key.endswith("!"):
            raise KokError(
                ErrorCode.Usage, f"--selector {selector}: {part.strip() or 'an empty part'} is not KEY=VALUE", "--selector env=prod,zone=z1"
            )
        labels[key] = value
    return labels


def stages_of(words: UpgradeWords, canaries: Sequence[str]) -> list[Manifest]:
    """The stages in order; `canaries` as namespace/name. Raises KokError Usage."""
    shared = {"soakSeconds": seconds_of(words.soak, "--soak"), "approval": words.approve_each}
    members = "pools" if words.of_machines else "clusters"
    made: list[Manifest] = [{"name": CANARY, members: list(canaries), **shared, "approval": False}] if canaries else []
    names = [part.strip() for part in words.stages.split(",") if part.strip()]
    last = 0
    for position, part in enumerate(names):
        found = PERCENT.match(part)
        if part == REST:
            if position != len(names) - 1:
                raise KokError(ErrorCode.Usage, f"--stages {words.stages}: rest is not the last stage", "--stages 5%,25%,rest")
            made.append({"name": REST, "rest": True, "maxParallel": words.max_parallel, **shared})
        elif found and int(found[1]) > last:
            last = int(found[1])
            made.append({"name": f"to-{last}-percent", "percent": last, "maxParallel": words.max_parallel, **shared})
        else:
            why = "does not rise" if found else "is neither a percentage nor rest"
            raise KokError(ErrorCode.Usage, f"--stages {words.stages}: {part} {why}", "--stages 5%,25%,rest")
    if not made:
        raise KokError(ErrorCode.Usage, "--stages is empty", "--stages 5%,25%,rest")
    made[0]["approval"] = False  # who starts it says yes to the first
    return made


def members_selected(members: Iterable[Manifest], labels: dict[str, str]) -> list[Manifest]:
    """Clusters or pools that carry all these labels."""
    have = [(each, each["metadata"].get("labels") or {}) for each in members]
    return [each for each, own in have if all(own.get(key) == value for key, value in labels.items())]


def members_named(members: Iterable[Manifest]) -> list[str]:
    """As namespace/name, sorted."""
    return sorted(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in members)


def canaries_of(words: Sequence[str], selected: Sequence[str]) -> list[str]:
    """Canaries as namespace/name: given so, or by a name that only one of the selected members has. Raises KokError Usage."""
    found = []
    for word in words:
        named = [key for key in selected if word in (key, key.split("/")[1])]
        if len(named) == 1:
            found.append(named[0])
            continue
        shown = ", ".join(selected[:5]) + (" ..." if len(selected) > 5 else "")
        message = f"--canary {word}: {'more than one of' if named else 'none of'} the selected members has that name"
        raise KokError(ErrorCode.Usage, message, f"write it as namespace/name; selected are {shown or 'none'}")
    return list(dict.fromkeys(found))


def rollout_manifest(name: str, words: UpgradeWords, canaries: Sequence[str], *, plan: bool = False) -> Manifest:
    """The FleetRollout. Raises KokError Usage."""
    said = {key: value for key, value in (("by", words.by), ("reason", words.reason)) if value}
    spec: Manifest = {
        "change": {"machinePackageVersion" if words.of_machines else "clusterPackageVersion": words.to},
        "selector": {"matchLabels": labels_of(words.selector)},
        "stages": stages_of(words, canaries),
    }
    spec |= {"onFail": "Pause"} if words.pause_on_fail else {}
    spec |= {"mode": "Plan"} if plan else {}
    spec |= {"said": said} if said else {}
    return {"apiVersion": API_VERSION, "kind": "FleetRollout", "metadata": {"name": name}, "spec": spec}

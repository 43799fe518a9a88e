"""Which package versions a plane may go through to reach another: patches and single minors, chained; etcd's minor on its own. Pure.

Sources of the rules: Kubernetes' version skew policy (one minor at a time; kubelets at most three minors older than the API server), etcd's
upgrade guides (one minor at a time, 3.6 from 3.5.26 on, never back). Changes nothing; called by `release` and `upgrading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from operators.api.packages import ClusterPackageVersion
from operators.errors import ErrorCode

KUBELET_SKEW = 3
"""Minors that a kubelet may be older than the API server."""
FIRST_ETCD_INTO_3_6 = (3, 5, 26)
Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Package:
    """What planning needs of a ClusterPackageVersion."""

    name: str
    kubernetes: Version
    etcd: Version
    made: str = ""
    """creationTimestamp; of two alike the newer is taken."""

    @classmethod
    def of(cls, package: ClusterPackageVersion) -> Package:
        """From the object."""
        etcd = version_of(package.spec.components.etcd.version)
        return cls(package.metadata.name, version_of(package.spec.kubernetes_version), etcd, package.metadata.creation_timestamp or "")

    @property
    def minor(self) -> tuple[int, int]:
        """Major and minor of Kubernetes."""
        return self.kubernetes[:2]

    @property
    def minor_words(self) -> str:
        """`1.34`, as flags take it."""
        return f"{self.kubernetes[0]}.{self.kubernetes[1]}"


@dataclass(frozen=True, slots=True)
class Kubelet:
    """A node of the business cluster and the kubelet it runs."""

    node: str
    version: Version


@dataclass(frozen=True, slots=True)
class Path:
    """The packages to go through, the last one is the goal; without the start."""

    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no path, with the nearest package that may be wished instead in the words."""

    code: ErrorCode
    reason: str


def version_of(text: str) -> Version:
    """The three numbers of a version, whatever follows them. Missing ones are 0."""
    numbers = [int(number) for number in re.findall(r"\d+", text.split("-")[0].split("+")[0])[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch


def words_of(version: Sequence[int]) -> str:
    """`1.34.4`."""
    return ".".join(str(number) for number in version)


def plan_path(start: Package, goal: Package, known: Iterable[Package], kubelets: Sequence[Kubelet] = ()) -> Path | Refused:
    """The shortest chain of allowed hops; of equal ones that through the highest patches. A start that is the goal gives the empty path."""
    by_name = {package.name: package for package in known} | {start.name: start, goal.name: goal}
    found = _shortest(start, goal, by_name)
    if found is None:
        return Refused(ErrorCode.UpgradeRefused, _why_no_path(start, goal, by_name))
    return _bounded_by_kubelets(start, [by_name[name] for name in found], kubelets) or Path(tuple(found))


def forbidden(before: Package, after: Package) -> str:
    """Why this one hop is not allowed; empty if it is."""
    if before.kubernetes[0] != after.kubernetes[0]:
        return f"Kubernetes {before.kubernetes[0]} and {after.kubernetes[0]} are different worlds"
    if abs(after.kubernetes[1] - before.kubernetes[1]) > 1:
        return f"Kubernetes changes one minor at a time, and {before.minor_words} to {after.minor_words} is more"
    return _etcd_forbids(before, after)


def _etcd_forbids(before: Package, after: Package) -> str:
    old, new = before.etcd, after.etcd
    if old[:2] == new[:2]:
        return ""
    change = f"etcd {words_of(old)} to {words_of(new)}"
    if new < old:
        return f"{change}: the data of an etcd never goes back a minor"
    if old[0] != new[0] or new[1] - old[1] > 1:
        return f"{change}: etcd changes one minor at a time"
    if new[:2] == (3, 6) and old < FIRST_ETCD_INTO_3_6:
        return f"{change}: 3.6 is entered from {words_of(FIRST_ETCD_INTO_3_6)} on"
    if before.kubernetes != after.kubernetes:
        return f"{change}: etcd's minor is a change of its own, never part of another version of Kubernetes"
    return ""


def _shortest(start: Package, goal: Package, known: Mapping[str, Package]) -> list[str] | None:
    """Breadth first over the packages between the two, the most wanted neighbour first."""
    between = [each for each in known.values() if _is_between(each, start, goal)]
    came_from: dict[str, str] = {}
    edge, seen = [start], {start.name}
    while edge:
        following = []
        for package in edge:
            for each in _neighbours(package, between):
                if each.name not in seen:
                    seen.add(each.name)
                    came_from[each.name] = package.name
                    following.append(each)
        if goal.name in seen:
            break
        edge = following
    return _walked_back(came_from, start.name, goal.name) if goal.name in seen else None


def _walked_back(came_from: Mapping[str, str], start: str, goal: str) -> list[str]:
    path: list[str] = []
    while goal != start:
        path.append(goal)
        goal = came_from[goal]
    return path[::-1]


def _is_between(package: Package, start: Package, goal: Package) -> bool:
    """Ends included. Within the minors of both, a path leads neither back nor beyond; minors in between may have any patch."""
    low, high = sorted((start.kubernetes, goal.kubernetes))
    return low <= package.kubernetes <= high


def _neighbours(package: Package, between: Iterable[Package]) -> Iterator[Package]:
    allowed = [each for each in between if each.name != package.name and not forbidden(package, each)]
    yield from sorted(allowed, key=lambda each: (each.kubernetes, each.etcd, each.made, each.name), reverse=True)


def _why_no_path(start: Package, goal: Package, known: Mapping[str, Package]) -> str:
    """The rule that stands against the direct way, the missing minor if there is one, and the nearest package that may be wished."""
    reason = f"spec.packageVersion: {goal.name} cannot be reached from {start.name}: {forbidden(start, goal)}"
    if absent := _absent_minors(start, goal, known):
        reason += f", and the catalogue has no ClusterPackageVersion of Kubernetes {' and '.join(absent)} that leads there"
    nearest = _nearest(start, goal, known)
    return f"{reason}; the nearest that is allowed is {nearest}" if nearest else f"{reason}; put {start.name} back"


def _absent_minors(start: Package, goal: Package, known: Mapping[str, Package]) -> list[str]:
    if start.kubernetes[0] != goal.kubernetes[0]:
        return []
    low, high = sorted((start.kubernetes[1], goal.kubernetes[1]))
    there = {package.minor for package in known.values()}
    return [f"{start.kubernetes[0]}.{minor}" for minor in range(low + 1, high) if (start.kubernetes[0], minor) not in there]


def _nearest(start: Package, goal: Package, known: Mapping[str, Package]) -> str:
    """Of all that can be reached, the one whose versions are closest to the goal's; empty if nothing is closer than the start."""
    reachable = [each for each in known.values() if each.name != start.name and _shortest(start, each, known) is not None]

    def distance(each: Package) -> tuple[int, ...]:
        """Minors first; a patch counts only within the goal's minor."""
        patch = abs(each.kubernetes[2] - goal.kubernetes[2]) if each.minor == goal.minor else 0
        major, minor = (abs(mine - other) for mine, other in zip(each.minor, goal.minor, strict=True))
        return (major, minor, abs(each.etcd[0] - goal.etcd[0]), abs(each.etcd[1] - goal.etcd[1]), patch)

    closest = sorted(reachable, key=lambda each: (each.kubernetes, each.etcd, each.made, each.name), reverse=True)
    best = min(closest, key=distance, default=None)
    return best.name if best and distance(best) < distance(start) else ""


def _bounded_by_kubelets(start: Package, path: Sequence[Package], kubelets: Sequence[Kubelet]) -> Refused | None:
    """Going up leaves no kubelet more than three minors behind; going down waits for newer ones, which the hop itself does."""
    oldest = min(kubelets, key=lambda each: each.version, default=None)
    allowed = start.name
    for package in path:
        if oldest and package.kubernetes > start.kubernetes and package.kubernetes[1] - oldest.version[1] > KUBELET_SKEW:
            nearest = f"the nearest that is allowed is {allowed}" if allowed != start.name else f"put {start.name} back"
            return Refused(
                ErrorCode.UpgradeRefused,
                f"spec.packageVersion: {path[-1].name} cannot be reached from {start.name}: node {oldest.node} runs kubelet "
                f"{words_of(oldest.version)}, more than {KUBELET_SKEW} minors behind Kubernetes {package.minor_words}; "
                f"{nearest}, or raise that kubelet first",
            )
        allowed = package.name
    return None


def too_new(kubelets: Sequence[Kubelet], minor: tuple[int, int]) -> Kubelet | None:
    """A kubelet that an API server of that minor must not have: none may be newer than it."""
    newest = max(kubelets, key=lambda each: each.version, default=None)
    return newest if newest and newest.version[:2] > minor else None

"""Command-line flags of a plane's components: template defaults < ClusterPackageVersion < Cluster; what kok owns is refused by name.

Pure. Which flags are owned, and the defaults, stand in the templates (a revision pins them); this module only merges. Called by `desired_rendering`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from operators.api.cluster import FLAG_COMPONENTS, Cluster
from operators.api.packages import ClusterPackageVersion
from operators.errors import ErrorCode, KokError

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
"""A flag's name, as pflag and etcd write it."""

FlagValue = str | int | bool | list[str]


class SettingType(StrEnum):
    """How a flag's text is read where a component takes a file instead of a command line."""

    text = "text"
    integer = "integer"
    boolean = "boolean"


def overrides_of(component: str, package: ClusterPackageVersion, cluster: Cluster) -> dict[str, str]:
    """Flags of `component` (etcd, apiserver, controllerManager, scheduler, machineOperator) that people set: the package's, the Cluster's over them.

    Raises KokError FlagUnknownComponent when the Cluster names a component that does not exist.
    """
    for named in cluster.spec.flags:
        if named not in FLAG_COMPONENTS:
            raise KokError(
                ErrorCode.FlagUnknownComponent,
                f"spec.flags.{named}: there is no component {named}",
                f"set flags for {', '.join(FLAG_COMPONENTS)}",
            )
    components = package.spec.components
    packaged = {
        "etcd": components.etcd.flags,
        "apiserver": components.apiserver.flags,
        "controllerManager": components.controller_manager.flags,
        "scheduler": components.scheduler.flags,
        "machineOperator": components.machine_operator.flags,
    }
    return {**packaged[component], **cluster.spec.flags.get(component, {})}


def arguments(
    overrides: Mapping[str, str],
    *,
    component: str,
    owned: Mapping[str, FlagValue],
    defaults: Mapping[str, FlagValue],
    refused: Iterable[str] = (),
) -> list[str]:
    """The argument list: what kok owns, then defaults under what people set, sorted; each flag is one argument, whatever its value holds.

    `refused` are flags that kok leaves unset on purpose. A list value becomes one flag with commas.
    Raises KokError FlagOwned for an owned or refused flag, FlagUnknown for something that is no flag's name.
    """
    _refuse_owned(overrides, component, {*owned, *refused})
    free = {**defaults, **overrides}
    return [f"--{name}={_text(value)}" for name, value in owned.items()] + [f"--{name}={_text(free[name])}" for name in sorted(free)]


def settings(
    overrides: Mapping[str, str],
    *,
    component: str,
    owned: Mapping[str, object],
    defaults: Mapping[str, FlagValue],
    settable: Mapping[str, str],
) -> dict[str, object]:
    """The same for a component that reads a file: owned settings, and defaults under what people set, each in its type.

    Raises KokError FlagOwned for an owned setting, FlagUnknown for one that is not in `settable` or whose value does not fit its type.
    """
    _refuse_owned(overrides, component, owned)
    typed = {name: _typed(component, name, value, settable) for name, value in sorted(overrides.items())}
    return {**defaults, **typed, **owned}


def refuse_unknown(package: ClusterPackageVersion, cluster: Cluster, known: Mapping[str, frozenset[str]]) -> None:
    """Raises KokError FlagUnknown for a flag that a component of that version does not take: it would not start. `known`: as the catalogue says."""
    for component, names in sorted(known.items()):
        for name in sorted(overrides_of(component, package, cluster).keys() - names):
            own = name in cluster.spec.flags.get(component, {})
            where = (
                f"spec.flags.{component}.{name}" if own else f"ClusterPackageVersion {package.metadata.name}: flags of {component}: {name}"
            )
            close = difflib.get_close_matches(name, names, n=1)
            raise KokError(
                ErrorCode.FlagUnknown,
                f"{where}: {component} {package.spec.kubernetes_version} has no flag --{name} and would not start",
                f"write {close[0]} if that is meant, or remove it" if close else "remove it",
            )


def _refuse_owned(overrides: Mapping[str, str], component: str, owned: Iterable[str]) -> None:
    taken = set(owned)
    for name in sorted(overrides):
        if name in taken:
            raise KokError(
                ErrorCode.FlagOwned,
                f"flag {name} of {component} belongs to kok (certificates, addresses, etcd endpoints and what safety rests on)",
                f"remove spec.flags.{component}.{name}",
            )
        if not NAME.fullmatch(name):
            raise KokError(
                ErrorCode.FlagUnknown,
                f"{name!r} is not the name of a flag of {component}",
                "write the name as on the command line without its leading dashes: small letters, digits and dashes",
            )


def _typed(component: str, name: str, value: str, settable: Mapping[str, str]) -> FlagValue:
    if name not in settable:
        raise KokError(
            ErrorCode.FlagUnknown,
            f"flag {name} of {component} cannot be set",
            f"these can: {', '.join(sorted(settable))}",
        )
    match SettingType(settable[name]):
        case SettingType.integer if re.fullmatch(r"[0-9]{1,18}", value):
            return int(value)
        case SettingType.boolean if value in ("true", "false"):
            return value == "true"
        case SettingType.text:
            return value
    raise KokError(ErrorCode.FlagUnknown, f"flag {name} of {component}: {value!r} is not of type {settable[name]}", "correct the value")


def _text(value: FlagValue) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)

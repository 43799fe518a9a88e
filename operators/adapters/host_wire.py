"""Packages and reports as JSON, between the operator and the Python that runs on a host (playbooks/module_utils/kok_host). Pure translation.

Called by the ssh and ansible adapters. What a probe is sent holds digests only, never the content of a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import Enum
from typing import Any

from operators.api.packages import Artifact, Unit
from operators.domain.machine.host import DesiredFile, DesiredPackage, FileReport, HostReport, Owner, PackageReport, UnitReport


class Detail(Enum):
    """How much of a package is sent."""

    Digests = "Digests"
    """For looking."""
    Contents = "Contents"
    """For changing."""


def package_wire(package: DesiredPackage, detail: Detail) -> dict[str, Any]:
    """One package for the host's Python."""
    return {
        "name": package.name,
        "component": package.component,
        "version": package.version,
        "order": package.order,
        "effect": package.effect.model_dump(mode="json"),
        "artifacts": [artifact_wire(artifact) for artifact in package.artifacts],
        "files": [_file(file, detail) for file in package.files],
        "units": [_unit(unit, detail) for unit in package.units],
        "sysctls": {key: " ".join(value.split()) for key, value in package.sysctls.items()},
        "kernel_modules": list(package.kernel_modules),
        "observe": package.observe.model_dump(mode="json") if package.observe else None,
        "remove": package.remove.model_dump(mode="json"),
    }


def artifact_wire(artifact: Artifact) -> dict[str, Any]:
    """One artifact for the host's Python."""
    kept = {"name", "sha256", "method", "url", "path", "mode", "image", "package", "package_version"}
    return artifact.model_dump(mode="json", include=kept) | {"as": artifact.install_as.value}


def _file(file: DesiredFile, detail: Detail) -> dict[str, Any]:
    wire = {"path": file.path, "sha256": file.sha256, "mode": file.mode, "notify": file.notify, "once": file.once}
    return wire | ({"content": file.content} if detail is Detail.Contents else {})


def _unit(unit: Unit, detail: Detail) -> dict[str, Any]:
    digest = hashlib.sha256(unit.content.encode()).hexdigest() if unit.content else ""
    wire = {"name": unit.name, "sha256": digest, "running": unit.running}
    return wire | ({"content": unit.content} if detail is Detail.Contents else {})


def owner_wire(owner: Owner) -> dict[str, Any]:
    """The owner file's content."""
    return {"claim_uid": owner.claim_uid, "cluster": owner.cluster, "pool": owner.pool, "epoch": owner.epoch}


def host_report_of(wire: Mapping[str, Any]) -> HostReport:
    """A report as the host's Python printed it. Raises KeyError, TypeError or ValueError when it is not one."""
    return HostReport(
        hostname=str(wire["hostname"]),
        boot_id=str(wire["boot_id"]),
        machine_id=str(wire["machine_id"]),
        os_release=str(wire["os_release"]),
        disk_free_bytes=int(wire["disk_free_bytes"]),
        disk_total_bytes=int(wire["disk_total_bytes"]),
        owner=_owner_of(wire["owner"]),
        packages={str(component): _package_of(report) for component, report in wire["packages"].items()},
        kubelet_credentials=bool(wire["kubelet_credentials"]),
        uptime_seconds=float(wire["uptime_seconds"]) if wire.get("uptime_seconds") is not None else None,
        stored=frozenset(str(digest) for digest in wire.get("stored") or ()),
        staged=frozenset(str(digest) for digest in wire.get("staged") or ()),
    )


def _owner_of(wire: Mapping[str, Any] | None) -> Owner | None:
    if not wire:
        return None
    return Owner(str(wire["claim_uid"]), str(wire.get("cluster", "")), str(wire.get("pool", "")), int(wire.get("epoch", 0)))


def _package_of(wire: Mapping[str, Any]) -> PackageReport:
    return PackageReport(
        component=str(wire["component"]),
        name=str(wire.get("name", "")),
        version=str(wire.get("version", "")),
        order=int(wire.get("order", 100)),
        artifacts={str(k): bool(v) for k, v in wire.get("artifacts", {}).items()},
        files={str(k): FileReport(str(v["sha256"]), str(v["mode"])) for k, v in wire.get("files", {}).items()},
        units={str(k): _unit_report_of(v) for k, v in wire.get("units", {}).items()},
        sysctls={str(k): str(v) for k, v in wire.get("sysctls", {}).items()},
        kernel_modules={str(k): bool(v) for k, v in wire.get("kernel_modules", {}).items()},
    )


def _unit_report_of(wire: Mapping[str, Any]) -> UnitReport:
    since = wire.get("since")
    return UnitReport(bool(wire["active"]), bool(wire["enabled"]), str(wire["sha256"]), float(since) if since is not None else None)

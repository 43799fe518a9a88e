"""What one host should carry of one package: a MachinePackageVersion with its `{{ }}` filled from facts of host and cluster.

Pure; called by machine_operator before it compares with a HostReport. Must not look anything up: what a template may say is HostFacts, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from operators.api.packages import MachinePackageVersion, ManagedFile, Unit
from operators.domain.machine.host import DesiredFile, DesiredPackage
from operators.errors import ErrorCode, KokError


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """`{{ node.* }}`. Labels and taints are not here on purpose: they are set through the API, so that changing one restarts no kubelet."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """`{{ cluster.* }}`."""

    name: str
    endpoint: str
    """URL of the business API server."""
    ca: str
    """The cluster CA's certificate, PEM."""
    dns: str
    """Address of the cluster's DNS service."""
    domain: str
    pod_cidr: str
    """`{{ cluster.podCIDR }}`."""
    api_hosts: tuple[str, ...] = ()
    """`{{ cluster.apiHosts }}`: every meta address behind the endpoint, where it has several."""
    api_port: int = 0
    """`{{ cluster.apiPort }}`: the API server's port at each of them."""
    konnectivity_port: int = 0
    """`{{ cluster.konnectivityPort }}`: konnectivity's port at each of them."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything a file template may name."""

    node: NodeFacts
    cluster: ClusterFacts


ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


def desired_package(mpv: MachinePackageVersion, facts: HostFacts) -> DesiredPackage:
    """The package as it shall lie on this host.

    Raises KokError TemplateInvalid, naming package, path and the fact that is missing.
    """
    spec, names = mpv.spec, _names_of(facts)
    package = mpv.metadata.name
    return DesiredPackage(
        name=package,
        component=spec.component,
        version=spec.version,
        order=spec.order,
        effect=spec.effect,
        artifacts=spec.artifacts,
        files=tuple(_desired_file(file, names, package=package) for file in spec.files),
        units=tuple(_desired_unit(unit, names, package=package) for unit in spec.units),
        sysctls={key: " ".join(value.split()) for key, value in spec.sysctls.items()},  # as the kernel prints them
        kernel_modules=spec.kernel_modules,
        observe=spec.observe,
        remove=spec.remove,
    )


def _names_of(facts: HostFacts) -> dict[str, Any]:
    cluster = asdict(facts.cluster)
    for fact, name in (
        ("pod_cidr", "podCIDR"),
        ("api_hosts", "apiHosts"),
        ("api_port", "apiPort"),
        ("konnectivity_port", "konnectivityPort"),
    ):
        cluster[name] = cluster.pop(fact)
    return {"node": asdict(facts.node), "cluster": cluster}


def _desired_file(file: ManagedFile, names: Mapping[str, Any], *, package: str) -> DesiredFile:
    content = _filled(file.content, names, where=f"{package}: {file.path}")
    return DesiredFile(path=file.path, content=content, mode=file.mode, notify=file.notify, once=file.once, secret=file.secret)


def _desired_unit(unit: Unit, names: Mapping[str, Any], *, package: str) -> Unit:
    return unit.model_copy(update={"content": _filled(unit.content, names, where=f"{package}: unit {unit.name}")})


@lru_cache(maxsize=512)
def _template(text: str) -> Template:
    """Every host's packages are made of the same few texts. Raises TemplateError."""
    return ENVIRONMENT.from_string(text)


def _filled(text: str, names: Mapping[str, Any], *, where: str) -> str:
    try:
        return _template(text).render(names)
    except TemplateError as error:
        raise KokError(
            ErrorCode.TemplateInvalid,
            f"MachinePackageVersion {where}: {error.message}",
            "facts that exist: node.name node.address cluster.name cluster.endpoint cluster.ca cluster.dns cluster.domain cluster.podCIDR "
            "cluster.apiHosts cluster.apiPort cluster.konnectivityPort",
        ) from error

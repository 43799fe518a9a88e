"""ClusterPackageVersion and MachinePackageVersion: what may be installed, as data. Immutable once created; read by both operators."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from operators.api.base import (
    LIST_SET,
    AbsolutePath,
    Column,
    DnsLabel,
    DnsName,
    KindInfo,
    Model,
    Resource,
    Scope,
    Sha256,
    Text,
    cel,
    list_map,
    rules,
)
from operators.api.cluster import Flags
from operators.api.pending import Effect as Effect

Image = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._:/@-]*[a-z0-9]$", min_length=1, max_length=255)]
SemVer = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([-+~][0-9A-Za-z.~+-]+)?$", max_length=64)]
PACKAGE_NAME = r"^([A-Za-z0-9][A-Za-z0-9.+:~_-]*)?$"
"""Names and versions as distributions write them."""
IMMUTABLE = rules(cel("self == oldSelf", "a package version never changes; create one under a new name"))


Sysctls = Annotated[
    dict[str, Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=255)]],
    Field(
        max_length=128,
        json_schema_extra=rules(
            cel("self.all(k, k.matches('^[a-z0-9][A-Za-z0-9_./-]{0,254}$'))", "a sysctl is named as under /proc/sys: net.ipv4.ip_forward")
        ),
    ),
]


class EtcdComponent(Model):
    """etcd's image, version and default flags."""

    version: SemVer
    """3.6.x, or 3.5.26 and newer."""
    image: Image
    """As upstream names it."""
    flags: Flags = Field(default_factory=dict)
    """Default flags, over the template's."""


class Component(Model):
    """A component whose version is the cluster's."""

    image: Image
    """As upstream names it."""
    flags: Flags = Field(default_factory=dict)
    """Default flags, over the template's; a Cluster's flags come over these."""


class Konnectivity(Model):
    """The way of the API server into the business network: agents on the nodes dial the server, which dials nobody."""

    server_image: Image
    """proxy-server, as upstream names it."""
    agent_image: Image
    """proxy-agent, as upstream names it; of the same version."""


class Components(Model):
    """The masters, and the Machine-Operator that is brought up beside them."""

    etcd: EtcdComponent
    apiserver: Component
    controller_manager: Component
    scheduler: Component
    machine_operator: Component
    konnectivity: Konnectivity | None = None
    """Without it API servers reach nodes, pods and Services by the meta cluster's own routes, if there are any."""


class Addon(Model):
    """An add-on inside the business cluster."""

    image: Image
    """What its pods run."""


class CniAddon(Model):
    """The pod network."""

    name: Literal["flannel"]
    """Which one; its configuration comes with the plane revision."""
    image: Image
    """What its pods on every node run."""


class Addons(Model):
    """What runs inside every business cluster."""

    coredns: Addon
    kube_proxy: Addon
    cni: CniAddon


class ClusterPackageVersionSpec(Model):
    """One tested set of masters, add-ons and the machine packages that fit."""

    model_config = ConfigDict(json_schema_extra=IMMUTABLE)

    kubernetes_version: SemVer
    """Version of apiserver, controller-manager and scheduler."""
    plane_revision: DnsLabel
    """Revision of the plane's templates (packages/plane/<revision>); also holds what goes inside the business cluster."""
    components: Components
    """Image and default flags per component."""
    addons: Addons
    """Add-ons inside the business cluster."""
    machine_packages: Annotated[tuple[DnsName, ...], Field(max_length=32, json_schema_extra=LIST_SET)] = ()
    """MachinePackageVersions that hosts of pools with `follow: Cluster` get."""
    api_proxy_package: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = ""
    """The MachinePackageVersion of the proxy on nodes: they get it too where the Cluster's endpoint has additionalHosts; pools with explicit packages name it themselves."""


class ClusterPackageVersion(Resource):
    """One release of a business cluster: images, default flags, templates, add-ons, machine packages. Its spec never changes."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="clusterpackageversions",
        short=("cpv",),
        scope=Scope.Cluster,
        columns=(
            Column("Kubernetes", ".spec.kubernetesVersion"),
            Column("etcd", ".spec.components.etcd.version"),
            Column("Revision", ".spec.planeRevision"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        status=False,
    )
    kind: Literal["ClusterPackageVersion"] = "ClusterPackageVersion"
    spec: ClusterPackageVersionSpec


class DeliveryMethod(StrEnum):
    """How an artifact reaches the host."""

    Push = "Push"
    """The Machine-Operator sends it over SSH, once, into the host's cache."""
    Url = "Url"
    """The host fetches it; the digest is verified there."""


class InstallAs(StrEnum):
    """What is done with an artifact on the host."""

    File = "File"
    Archive = "Archive"
    Deb = "Deb"
    Rpm = "Rpm"
    Image = "Image"


class Artifact(Model):
    """One file that a host needs, addressed by its content."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!(self.__as__ in ['File', 'Archive']) || has(self.path)",
                "path is required with as File (the file) and Archive (the folder it is unpacked into)",
            ),
            cel("self.method != 'Url' || has(self.url)", "url is required with method Url"),
            cel(
                "!(self.__as__ in ['Deb', 'Rpm']) || (self.package != '' && self.packageVersion != '')",
                "package and packageVersion are required with as Deb and Rpm: they are how the host is asked what it has",
            ),
            cel(
                "self.__as__ != 'Image' || self.image != ''",
                "image is required with as Image: a name that must be present after the import",
            ),
        )
    )

    name: DnsName
    """Unique in the package."""
    asset: Annotated[str, Field(max_length=128, pattern=PACKAGE_NAME)] = ""
    """Name in the assets index that `sha256` was taken from; for people."""
    sha256: Sha256
    """Digest of the content; also its name in every cache."""
    method: DeliveryMethod = DeliveryMethod.Push
    """Push over SSH, or let the host fetch `url`."""
    url: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^\s]+$")] | None = None
    """Where the host fetches it from, with method Url."""
    install_as: Annotated[InstallAs, Field(alias="as")]
    """File, Archive (tar), Deb, Rpm, or Image (an OCI archive for containerd)."""
    path: AbsolutePath | None = None
    """File: where it goes. Archive: the folder it is unpacked into."""
    mode: Annotated[str, Field(pattern=r"^0[0-7]{3}$", max_length=4)] = "0755"
    """Permissions of a File."""
    image: Annotated[str, Field(max_length=255, pattern=r"^([a-z0-9][A-Za-z0-9._:/@-]*)?$")] = ""
    """Image: a name that must be present in containerd after the import; the archive is imported when it is missing."""
    package: Annotated[str, Field(max_length=128, pattern=PACKAGE_NAME)] = ""
    """Deb, Rpm: the distribution's package name, for querying and removal."""
    package_version: Annotated[str, Field(max_length=128, pattern=PACKAGE_NAME)] = ""
    """Deb, Rpm: the version the distribution's tool must report."""


class ManagedFile(Model):
    """A file whose whole content kok owns."""

    path: AbsolutePath
    """Where."""
    content: Annotated[str, Field(max_length=65536)]
    """Text; `{{ }}` is filled with facts of host and cluster (docs/howto/add-a-machine-package.md lists them)."""
    mode: Annotated[str, Field(pattern=r"^0[0-7]{3}$", max_length=4)] = "0644"
    """Permissions."""
    notify: Annotated[str, Field(max_length=255, pattern=r"^([A-Za-z0-9@._-]+\.(service|socket|timer|mount|target))?$")] = ""
    """Unit that is restarted (or reloaded, as `effect` says) when the content changed."""
    once: bool = False
    """Written only when absent: the component rewrites it itself afterwards (a bootstrap kubeconfig)."""
    secret: bool = False
    """Never shown in a log, a diff or a status."""


class Unit(Model):
    """A systemd unit."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9@._-]+\.(service|socket|timer|mount|target)$", max_length=255)]
    """With its suffix."""
    content: Annotated[str, Field(max_length=16384)] = ""
    """The unit file; empty when the component's own package ships it."""
    running: bool = True
    """Enabled and running, or disabled and stopped."""


class Observe(Model):
    """How the version that runs is found out, without changing anything."""

    command: Annotated[tuple[Annotated[str, Field(max_length=255)], ...], Field(min_length=1, max_length=16)]
    """Argument list; no shell."""
    pattern: Annotated[str, Field(max_length=255)]
    """Regular expression whose first group is the version."""


class Effects(Model):
    """What changing this package does to a host that already has it."""

    install: Effect = Effect.NoEffect
    """First installation."""
    version: Effect = Effect.Restart
    """Another version of the same component."""
    configuration: Effect = Effect.Restart
    """Only files, units or sysctls differ."""
    removal: Effect = Effect.Restart
    """Taking it off the host."""


class Removal(Model):
    """What is left to remove when the package goes, beyond its files, units and artifacts."""

    purge: Annotated[tuple[AbsolutePath, ...], Field(max_length=32, json_schema_extra=LIST_SET)] = ()
    """Folders and files that the component made; mounts below them are unmounted first."""
    commands: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=16)] = ()
    """Shell commands run before anything is removed, each idempotent."""


class MachinePackageVersionSpec(Model):
    """One version of one node component."""

    model_config = ConfigDict(json_schema_extra=IMMUTABLE)

    component: DnsLabel
    """kubelet, containerd, ...; a host has at most one package per component."""
    version: Annotated[str, Field(min_length=1, max_length=64, pattern=PACKAGE_NAME)]
    """What `observe` must report."""
    order: Annotated[int, Field(ge=0, le=1000)] = 100
    """Lower is installed first and removed last."""
    effect: Effects = Effects()
    """What changing it does to a host."""
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = ()
    """Files the host needs, by digest."""
    files: Annotated[tuple[ManagedFile, ...], Field(max_length=64, json_schema_extra=list_map("path"))] = ()
    """Files whose whole content kok owns."""
    units: Annotated[tuple[Unit, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """systemd units."""
    sysctls: Sysctls = Field(default_factory=dict)
    """Kernel settings, persisted and applied."""
    kernel_modules: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=64)], ...], Field(max_length=32, json_schema_extra=LIST_SET)
    ] = ()
    """Modules loaded now and at boot; one that is built in counts as loaded."""
    observe: Observe | None = None
    """How its version is found out; without it the digests of files and artifacts are what counts."""
    remove: Removal = Removal()
    """What is left to remove when the package goes."""
    description: Text = ""
    """For people."""


class MachinePackageVersion(Resource):
    """One version of one node component: artifacts, files, units, sysctls, how to observe it, what changing it does. Its spec never changes."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="machinepackageversions",
        short=("mpv",),
        scope=Scope.Cluster,
        columns=(
            Column("Component", ".spec.component"),
            Column("Version", ".spec.version"),
            Column("Effect", ".spec.effect.version"),
            Column("Order", ".spec.order", "integer"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        status=False,
    )
    kind: Literal["MachinePackageVersion"] = "MachinePackageVersion"
    spec: MachinePackageVersionSpec

"""Host and HostClaim: how a host is reached, and which pool owns it. Read by the Machine-Operator and `kok host`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from operators.api.base import LIST_SET, Column, DnsLabel, DnsName, KindInfo, Model, Resource, Scope, Timestamp
from operators.api.labels import LabelValue

HostKey = Annotated[str, Field(pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,2}$", max_length=1024)]


class Power(Model):
    """Out-of-band management of a host."""

    redfish_url: Annotated[str, Field(alias="redfishURL", pattern=r"^https?://[^\s]+$", max_length=1024)]
    """Address of the BMC."""
    secret_name: DnsName
    """Secret with `username` and `password`."""


class Host(Model):
    """One host that SSH reaches. What stands here is the authority: host keys are pinned, never learned."""

    name: DnsLabel
    """Name of the host, of its Machine and of its Node."""
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$", max_length=253)]
    """IP address or name."""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    """sshd's port."""
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$", max_length=32)] = "root"
    """root, or a user with password-less sudo."""
    host_keys: Annotated[tuple[HostKey, ...], Field(max_length=8, json_schema_extra=LIST_SET)] = ()
    """Public host keys, as ssh-keyscan prints them; without one nothing connects (`kok host scan` prints what to commit)."""
    zone: LabelValue = ""
    """Failure domain."""
    rack: LabelValue = ""
    """Failure domain within a zone."""
    power: Power | None = None
    """Out-of-band management, where there is any."""


PackageNames = Annotated[tuple[DnsName, ...], Field(max_length=64, json_schema_extra=LIST_SET)]


class HostClaimSpec(Model):
    """Who owns a host. Creating the object is the lock."""

    address: Annotated[str, Field(max_length=253)]
    """Where SSH finds the host, as its pool lists it."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """Of SSH."""
    namespace: DnsLabel
    """Namespace of the owning pool."""
    cluster: DnsLabel
    """The Cluster that the pool belongs to."""
    pool: DnsLabel
    """The MachinePool."""
    host: DnsLabel
    """The host's name in its pool, and its node's."""
    pool_uid: Annotated[str, Field(max_length=64)]
    """A pool made anew under the same name does not inherit the claim."""
    claimed_at: Timestamp
    """When it was taken."""
    packages: PackageNames = ()
    """Packages that were ever authorised for this host under this claim: what cleaning must remove, also when the pool is gone."""
    connection: Host
    """How the host was reached when it was last authorised, so that it can be cleaned after it left the pool."""


class HostClaim(Resource):
    """Which pool owns a host; named by the hash of the host's identity (address and port). Written by operators only."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="hostclaims",
        short=(),
        scope=Scope.Cluster,
        columns=(
            Column("Address", ".spec.address"),
            Column("Namespace", ".spec.namespace"),
            Column("Pool", ".spec.pool"),
            Column("Host", ".spec.host"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        status=False,
    )
    kind: Literal["HostClaim"] = "HostClaim"
    spec: HostClaimSpec

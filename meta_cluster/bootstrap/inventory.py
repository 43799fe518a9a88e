"""The inventory of `kok meta init`: which hosts shall become a meta cluster, and how they are reached. Reads and judges; asks no host.

Every refusal names the field, its value and what to do. Called by the CLI.
"""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from operators.api.base import DnsLabel
from operators.api.hosts import Host
from operators.errors import ErrorCode, KokError

ADDRESS = r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$"


class Strict(BaseModel):
    """An unknown field is a slip of the pen, not an extension."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class InventoryEndpoint(Strict):
    """Where clients find the meta cluster's API servers."""

    host: Annotated[str, Field(pattern=ADDRESS, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] = 6443


class InventoryNetwork(Strict):
    """Address ranges inside the meta cluster."""

    pod_cidr: Annotated[IPv4Network, Field(alias="podCIDR")] = IPv4Network("10.200.0.0/16")
    service_cidr: Annotated[IPv4Network, Field(alias="serviceCIDR")] = IPv4Network("10.201.0.0/16")


class Inventory(Strict):
    """One meta cluster."""

    name: DnsLabel = "meta"
    """Its name; written on the hosts as their owner."""
    hosts: Annotated[tuple[Host, ...], Field(min_length=1, max_length=3)]
    """One, or three for a control plane that outlives one of them."""
    ssh_key_file: Path
    """Private key that the hosts accept."""
    endpoint: InventoryEndpoint | None = None
    """With three hosts: a load balancer, a virtual address or a name over all of them. With one host its address is the default."""
    network: InventoryNetwork = InventoryNetwork()
    nameservers: Annotated[tuple[str, ...], Field(max_length=3)] = ()
    """Resolvers for pods, where the hosts' own resolv.conf is of no use to them (127.0.0.53 and the like)."""
    inside_containers: bool = False
    """The hosts are containers of one machine, as a lab's: cgroupfs, shared disk, swap of somebody else."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """What no field can know alone."""
        if len(self.hosts) == 2:
            raise ValueError("hosts: 2 hosts are one too few or one too many: two etcd members tolerate no failure; list 1 or 3")
        for field in ("name", "address"):
            values = [getattr(host, field) for host in self.hosts]
            if double := next((value for value in values if values.count(value) > 1), ""):
                raise ValueError(f"hosts: {field} {double} is there twice; list each host once")
        for number, host in enumerate(self.hosts):
            if not host.host_keys:
                raise ValueError(f"hosts.{number}.hostKeys: {host.name} has none; kok host scan {host.address} prints what to write there")
        if len(self.hosts) > 1 and self.endpoint is None:
            raise ValueError(
                "endpoint: is missing; with three hosts name an address that leads to all of them (a load balancer, a virtual address)"
            )
        return self._networks_fit()

    def _networks_fit(self) -> Self:
        pods, services = self.network.pod_cidr, self.network.service_cidr
        if pods.overlaps(services):
            raise ValueError(f"network: podCIDR {pods} and serviceCIDR {services} overlap; choose ranges apart from each other")
        if pods.prefixlen > 22:
            raise ValueError(f"network.podCIDR: {pods} is too small for three nodes of 254 pods; take a /22 or larger")
        for host in self.hosts:
            for name, network in (("podCIDR", pods), ("serviceCIDR", services)):
                if _is_in(host.address, network):
                    raise ValueError(
                        f"network.{name}: {network} holds the address {host.address} of {host.name}; choose a range nobody uses"
                    )
        return self

    @property
    def api(self) -> InventoryEndpoint:
        """Where the API servers are found."""
        return self.endpoint or InventoryEndpoint(host=self.hosts[0].address)

    @property
    def claim(self) -> str:
        """What hosts of this meta cluster carry as their owner."""
        return f"meta-cluster-{self.name}"


def _is_in(address: str, network: IPv4Network) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return found in network


def read_inventory(path: Path) -> Inventory:
    """The inventory in a file. Raises KokError Usage, naming file, field, value and what to do."""
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KokError(ErrorCode.Usage, f"{path}: {error.strerror}", "docs/howto/make-a-meta-cluster.md shows an inventory") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KokError(ErrorCode.Usage, f"{path} is no YAML: {error}", "correct the file") from error
    if not isinstance(found, dict):
        raise KokError(ErrorCode.Usage, f"{path}: holds no inventory", "docs/howto/make-a-meta-cluster.md shows one")
    try:
        inventory = Inventory.model_validate(found)
    except ValidationError as error:
        raise KokError(ErrorCode.Usage, f"{path}: {_sentence(error)}", "correct the file and run it again; nothing was touched") from error
    return inventory.model_copy(update={"ssh_key_file": path.parent / inventory.ssh_key_file.expanduser()})


def _sentence(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    if not first["loc"]:
        return str(first["msg"]).removeprefix("Value error, ")
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{path}: is missing"
    if first["type"] == "extra_forbidden":
        return f"{path}: there is no such field"
    return f"{path}: {str(first.get('input'))[:80]!r}: {first['msg']}"


def private_key_of(inventory: Inventory) -> str:
    """The text of the SSH key. Raises KokError Usage."""
    path = inventory.ssh_key_file
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KokError(
            ErrorCode.Usage, f"sshKeyFile: {path} cannot be read: {error}", "name the private key that the hosts accept"
        ) from error
    if "PRIVATE KEY" not in text:
        raise KokError(ErrorCode.Usage, f"sshKeyFile: {path} holds no private key", "name the private key, not the .pub beside it")
    return text

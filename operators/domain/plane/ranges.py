"""Whether the ranges of a cluster's pods and Services hold an address that its nodes dial. Pure; called by the ladder before a plane is made.

The schema refuses an address in spec.endpoint.host; here is what is known only when a name was resolved or the meta cluster gave an address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from operators.api.cluster import Network


def overlap(network: Network, addresses: Iterable[str]) -> tuple[str, str]:
    """The field and the first address that lies in its range; two empty texts if none does."""
    for field, text in (("podCIDR", network.pod_cidr), ("serviceCIDR", network.service_cidr)):
        held = ipaddress.ip_network(text)
        for address in addresses:
            if ipaddress.ip_address(address) in held:
                return field, address
    return "", ""

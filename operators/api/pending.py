"""What a change does to the pods of a host, and changes that are still to come as statuses show them. Read by machines, packages and clusters."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from operators.api.base import DnsLabel, Model, Text


class Effect(StrEnum):
    """What a change does to the pods of a host, in rising order of pain."""

    NoEffect = "None"
    Reload = "Reload"
    Restart = "Restart"
    Drain = "Drain"
    Reboot = "Reboot"
    Reinstall = "Reinstall"


class PendingChange(Model):
    """One change of a host that is still to come: what its pool wishes beside what is there."""

    component: DnsLabel
    """What changes."""
    from_: Annotated[str, Field(alias="from", max_length=253)] = ""
    """MachinePackageVersion that is there completely; empty: none."""
    to: Annotated[str, Field(max_length=253)] = ""
    """MachinePackageVersion that is wanted; empty: it is removed."""
    effect: Effect
    """What the change does to the host's pods."""
    waits: Text = ""
    """Why it is not done yet; empty: it is in hand."""


class PendingChanges(Model):
    """One change that is still to come on several hosts."""

    component: DnsLabel
    """What changes."""
    from_: Annotated[str, Field(alias="from", max_length=253)] = ""
    """MachinePackageVersion that is there completely; empty: none."""
    to: Annotated[str, Field(max_length=253)] = ""
    """MachinePackageVersion that is wanted; empty: it is removed."""
    effect: Effect
    """The worst that it does to the pods of one of them."""
    hosts: Annotated[int, Field(ge=1)] = 1
    """How many hosts."""


PendingSum = Annotated[tuple[PendingChanges, ...], Field(max_length=64)]
"""Changes of a pool, or of a cluster."""

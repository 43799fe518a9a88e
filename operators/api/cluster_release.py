"""ClusterRelease: what of a Cluster's wish is authorised, and how far its plane is. Written and read by the operators; a journal."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from operators.api.base import Column, DnsName, KindInfo, Model, Resource, Scope, Text, Timestamp


class AuthorisedBy(StrEnum):
    """Where an authorisation came from."""

    Spec = "Spec"
    Rollout = "Rollout"
    Undo = "Undo"


class Authorisation(Model):
    """One decision: this version, by whom, when, why."""

    package_version: DnsName
    """What was authorised."""
    from_version: Annotated[str, Field(alias="from", max_length=253)] = ""
    """What was authorised before it; empty for the first."""
    by: AuthorisedBy
    """Spec: the wish under changePolicy Direct. Rollout, Undo: a FleetRollout."""
    name: Annotated[str, Field(max_length=253)] = ""
    """Name of the rollout; empty for Spec."""
    rollout_uid: Annotated[str, Field(alias="rolloutUID", max_length=64)] = ""
    """Its uid: a rollout made anew under the same name is another one."""
    wish: Annotated[str, Field(max_length=253)] = ""
    """What spec.packageVersion said when a rollout authorised: as long as it still says so, it is no new wish. Empty for Spec."""
    at: Timestamp
    """When."""
    reason: Text = ""
    """Why, one sentence."""


class Direction(StrEnum):
    """Which way a hop goes."""

    Up = "Up"
    """From the lower package to the upper one."""
    Down = "Down"
    """Back, from wherever it is."""


class HopStage(StrEnum):
    """How far a hop has brought the plane; each names what is, or is being, put to the upper package (going down: what is so still)."""

    Prepare = "Prepare"
    """Nothing yet: everything is of the lower package."""
    Apiserver = "Apiserver"
    """The API servers; of a new minor, emulating the old one."""
    Controllers = "Controllers"
    """Controller-manager and scheduler too."""
    Soak = "Soak"
    """The same, watched for a while. New minors only."""
    LiftApiserver = "LiftApiserver"
    """The API servers emulate no more. New minors only."""
    LiftControllers = "LiftControllers"
    """The controllers emulate no more. New minors only."""
    Addons = "Addons"
    """What kok puts inside the cluster too."""
    MachineOperator = "MachineOperator"
    """Everything is of the upper package."""


class Hop(Model):
    """The change of a plane between two packages that is under way."""

    lower: DnsName
    """The package that every component has at its lower end."""
    upper: DnsName
    """The package that every component has at its upper end."""
    emulated: Annotated[str, Field(max_length=16)] = ""
    """major.minor that the upper package's masters emulate until the soak is over; empty for a hop within one minor."""
    direction: Direction
    """Where it goes now; an edit of the wish turns it round at any moment."""
    stage: HopStage = HopStage.Prepare
    """How far it is."""
    started_at: Timestamp
    """When it began; its preparations are named after it."""
    stage_since: Timestamp
    """When the stage was entered."""


class ClusterReleaseSpec(Model):
    """What is authorised now, what was before, and how far the plane is."""

    current: Authorisation
    """The operators obey this."""
    history: Annotated[tuple[Authorisation, ...], Field(max_length=20)] = ()
    """The last 20, newest first, without the current one."""
    reached: Annotated[str, Field(max_length=253)] = ""
    """The package that the whole plane was last at; empty: the current one, since it was created with it."""
    hop: Hop | None = None
    """The change that is under way; absent when the plane is at `reached`."""

    @property
    def plane_package(self) -> str:
        """The package that the plane was last at as a whole."""
        return self.reached or self.current.package_version

    @property
    def machines_package(self) -> str:
        """The package whose machine packages hosts follow: after the plane on the way up, before it on the way down."""
        if self.hop and self.hop.direction is Direction.Down:
            return self.hop.lower
        return self.plane_package


class ClusterRelease(Resource):
    """What is authorised for the Cluster of the same name. Written by operators only; a journal, not a display."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="clusterreleases",
        short=("kcr",),
        scope=Scope.Namespaced,
        columns=(
            Column("Package", ".spec.current.packageVersion"),
            Column("Reached", ".spec.reached"),
            Column("Hop", ".spec.hop.direction"),
            Column("Stage", ".spec.hop.stage"),
            Column("By", ".spec.current.by"),
            Column("Since", ".spec.current.at", "date"),
        ),
        status=False,
    )
    kind: Literal["ClusterRelease"] = "ClusterRelease"
    spec: ClusterReleaseSpec

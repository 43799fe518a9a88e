"""What all kinds share: the pydantic base, object metadata, conditions, bounded types. Decides nothing, touches nothing; imported by every kind.

Models are frozen and tolerant of unknown fields (an older operator must read what a newer one wrote); the API server is the strict one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from operators.errors import ErrorCode, KokError

GROUP = "kok.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "kok"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_CLUSTER = f"{GROUP}/cluster"
LABEL_POOL = f"{GROUP}/pool"
LABEL_MACHINE = f"{GROUP}/machine"
MANAGED_BY = "kok"

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

DnsLabel = Annotated[str, Field(pattern=DNS_LABEL, min_length=1, max_length=63)]
"""One DNS-1123 label: the name of a Cluster, a pool, a host."""
DnsName = Annotated[str, Field(pattern=DNS_NAME, min_length=1, max_length=253)]
"""A DNS-1123 subdomain: the name of a package version."""
Text = Annotated[str, Field(max_length=1024)]
"""A sentence for a person."""
Timestamp = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC, as the API server writes it."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", min_length=64, max_length=64)]
AbsolutePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._@:+/-]*$", min_length=2, max_length=255)]


ObservedGeneration = Annotated[int, Field(ge=-1)]
"""metadata.generation that a status was derived from; -1, the default of a status that nobody wrote yet, tells kstatus that it is not."""


def cel(rule: str, message: str, *, field: str | None = None, found: str = "") -> dict[str, str]:
    """One `x-kubernetes-validations` rule. `message` says what is wrong and what to do instead; `field` is the path it is reported at.

    `found`: a CEL string of the values at fault, told at the end. The API server itself shows a value only where the rule stands at a scalar. Of
    strings only: what `string(number)` costs is not bounded for it.
    """
    told = {"messageExpression": f"'{message}; found ' + {found}"} if found else {}
    return {"rule": rule, "message": message} | told | ({"fieldPath": field} if field else {})


def rules(*entries: dict[str, str]) -> dict[str, Any]:
    """CEL rules as schema extras, for `Field(json_schema_extra=...)` or a model's config."""
    return {"x-kubernetes-validations": list(entries)}


def list_map(*keys: str) -> dict[str, Any]:
    """Schema extras of a list that server-side apply merges by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}


class Model(BaseModel):
    """Base of everything in a kind: camelCase outside, snake_case inside, attribute docstrings become the CRD's descriptions."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, use_attribute_docstrings=True, extra="ignore")


class Scope(StrEnum):
    """Whether a kind lives in a namespace."""

    Namespaced = "Namespaced"
    Cluster = "Cluster"


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column: what `kubectl get` shows. `priority` 1 only with -o wide."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class KindInfo:
    """What makes a model a kind. `home` says which API server serves it; `status` whether it has a status subresource."""

    plural: str
    short: tuple[str, ...]
    scope: Scope
    home: Literal["meta", "business"] = "meta"
    columns: tuple[Column, ...] = ()
    status: bool = True


class ConditionStatus(StrEnum):
    """Three-valued, as in every Kubernetes API."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One observed aspect, in the standard form (KEP-1623), so that kstatus, Flux, Helm and `kubectl wait` understand it."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9._/-]*[A-Za-z0-9])?$", max_length=316)]
    """CamelCase, for example Ready."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", min_length=1, max_length=256)]
    """A CamelCase word a program can compare; an error code where there is one."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """One sentence a person understands; the same in the event, the log and `kok why`."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """metadata.generation this was derived from."""
    last_transition_time: Timestamp
    """When `status` last changed."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=64, json_schema_extra=list_map("type"))]


class OwnerReference(Model):
    """The part of an owner reference that is read back."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class ObjectMeta(Model):
    """The part of metadata that decisions read; the API server owns the rest."""

    name: str
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class Resource(Model):
    """Base of every kind. Subclasses declare `spec`, usually `status`, and INFO."""

    INFO: ClassVar[KindInfo]

    api_version: Literal["kok.dev/v1alpha1"] = "kok.dev/v1alpha1"
    kind: str
    metadata: ObjectMeta

    @classmethod
    def parse(cls, manifest: Mapping[str, Any]) -> Self:
        """The typed object of a manifest from the API server.

        Raises KokError InvalidObject, naming kind, object, field and value: an object stored before a schema change may not fit.
        """
        try:
            return cls.model_validate(dict(manifest))
        except ValidationError as error:
            raise KokError(
                ErrorCode.InvalidObject, _sentence_of(cls.__name__, manifest, error), "correct the field and apply it again"
            ) from error

    def manifest(self) -> dict[str, Any]:
        """The object as the API server takes it: aliases, no nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def deleting(self) -> bool:
        """Whether deletion was asked for."""
        return self.metadata.deletion_timestamp is not None


def _sentence_of(kind: str, manifest: Mapping[str, Any], error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    name = (manifest.get("metadata") or {}).get("name", "?")
    return f"{kind} {name}: {path}: {first['msg']} (got {str(first.get('input'))[:80]!r})"

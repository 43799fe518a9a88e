"""One Kubernetes API server, as the operators need it: a few idempotent verbs over plain manifests, with typed errors.

Touches nothing itself (a Protocol). The real thing is `operators.adapters.kube`; there is no twin, tests use a real API server.
Dangerous acts (evicting, cordoning, deleting a Node or a Machine) go through `operators.ports.grants`, which asks for a Grant
and uses `create_subresource`, `patch_json` and `delete` of this port underneath.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

from operators.errors import ErrorCode, KokError

Manifest = dict[str, Any]
"""A JSON object as the API server speaks it. The only place where an untyped mapping has a name."""

DEFAULT_DEADLINE = 10.0
"""Seconds a call may take in all, its one repetition after a 429 included."""


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A kind at one API version, e.g. `Kind("apps/v1", "Deployment")`; the core group is `Kind("v1", "Pod")`."""

    api_version: str
    kind: str

    @property
    def group(self) -> str:
        """`apps` of `apps/v1`; the core group is the empty string."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """`v1` of `apps/v1`."""
        return self.api_version.rpartition("/")[2]

    def ref(self, name: str, namespace: str = "") -> Ref:
        """The object of this kind with that name."""
        return Ref(self.api_version, self.kind, namespace, name)

    def __str__(self) -> str:
        return f"{self.kind}.{self.api_version}"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One object by name; `namespace` is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Ref:
        """The ref of a manifest that has at least apiVersion, kind and metadata.name."""
        metadata = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata["name"])

    @property
    def type(self) -> Kind:
        """Its kind."""
        return Kind(self.api_version, self.kind)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Subresource(StrEnum):
    """The sub-resources that are written on their own."""

    Status = "status"
    Eviction = "eviction"
    """POST a `policy/v1 Eviction` on a pod; a disruption budget that says no is `TooManyRequests` with `disruption_budget` set."""
    Approval = "approval"
    """PATCH a CertificateSigningRequest's conditions."""
    Token = "token"  # noqa: S105 - the name of a sub-resource, not a secret
    """POST a `authentication.k8s.io/v1 TokenRequest` on a ServiceAccount."""
    Scale = "scale"


class Propagation(StrEnum):
    """What happens to an object's dependents when it is deleted."""

    Background = "Background"
    Foreground = "Foreground"
    Orphan = "Orphan"


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What must still be true of an object for a delete to happen; empty fields are not checked."""

    uid: str = ""
    resource_version: str = ""
    grace_seconds: int | None = None
    """No condition, but a term of the same delete: 0 for a pod whose kubelet is gone; None leaves it to the object."""


ANY_STATE = Preconditions()


@dataclass(frozen=True, slots=True)
class Listing:
    """One consistent list: every page of it was read at `resource_version`."""

    items: tuple[Manifest, ...]
    resource_version: str


class WatchEventType(StrEnum):
    """What happened to an object; `Seen` is how the watch layer reports objects of its first list."""

    Added = "ADDED"
    Modified = "MODIFIED"
    Deleted = "DELETED"
    Bookmark = "BOOKMARK"
    Seen = "SEEN"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change, with the object as it was after it (before it, for Deleted)."""

    type: WatchEventType
    object: Manifest


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What a controller reconciles: one root object, by name. `controller` says whose queue it belongs to."""

    controller: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.controller}:{self.namespace}/{self.name}" if self.namespace else f"{self.controller}:{self.name}"


def _wake_nobody(_: Manifest) -> Iterable[Key]:
    return ()


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind to watch on one API server, and the root keys that a change of one of its objects wakes.

    `keys_of` is pure and cheap: it runs for every event. An object for which it returns nothing is not cached either.
    `selector` is a label selector of equalities (`a=b,c`); `namespace` empty means all namespaces. `server` names the API server
    when a process talks to more than one ("meta", "business"). `index`: a label whose value is looked up often in a kind that has no
    namespaces. `packed`: objects are kept as JSON, a quarter of their size, for kinds of which there are thousands and a pass reads a few.
    One Watched per server and kind.
    """

    kind: Kind
    keys_of: Callable[[Manifest], Iterable[Key]] = field(default=_wake_nobody)
    namespace: str = ""
    selector: str = ""
    server: str = "meta"
    index: str = ""
    packed: bool = False


NOT_LISTED: Mapping[Watched, str] = MappingProxyType({})


class WatchLayer(Protocol):
    """Watches the given kinds on one API server from a thread of its own until told to stop; its end means that of the process."""

    def start(
        self,
        deliver: Callable[[Watched, WatchEvent], None],
        ended: Callable[[BaseException | None], None],
        since: Mapping[Watched, str] = NOT_LISTED,
    ) -> None:
        """Begin. Both callbacks are called from the layer's thread; `ended` once, also when it ends as it was told.

        `since`: the resourceVersion at which the caller has listed a kind. Told is what came after it; where the server does not know it any more,
        and of kinds that are not in it, everything that there is.
        """
        ...

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Ask it to end and wait that long for its thread. Calling it twice, or before `start`, does nothing."""
        ...


class KubeError(KokError):
    """The API server said no, or could not be asked. Subclasses say which; `status` is the HTTP code, 0 if there was no answer."""

    code_of_class = ErrorCode.Internal

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(self.code_of_class, message, hint)
        self.status = status


class Conflict(KubeError):
    """Somebody wrote in between, or a precondition no longer holds: read again, decide again."""

    code_of_class = ErrorCode.Conflict


class AlreadyExists(KubeError):
    """A create lost the race (which is how HostClaims and grants use it as a lock)."""

    code_of_class = ErrorCode.AlreadyExists


class NotFound(KubeError):
    """Something that a write needs is not there: the object to patch, its namespace, or the kind itself. Reads return None instead."""

    code_of_class = ErrorCode.NotFound


class Forbidden(KubeError):
    """RBAC or admission refused; the message is the server's own."""

    code_of_class = ErrorCode.Forbidden


class Unauthorized(KubeError):
    """The server does not know us: a certificate or a token that it does not accept (any more)."""

    code_of_class = ErrorCode.Unauthorized


class Invalid(KubeError):
    """The object breaks its schema or a validation rule; the message names the field."""

    code_of_class = ErrorCode.InvalidObject


class TooManyRequests(KubeError):
    """The server asks for patience (seconds in `retry_after`), or a disruption budget refused an eviction."""

    code_of_class = ErrorCode.TooManyRequests

    def __init__(self, message: str, *, retry_after: float = 1.0, disruption_budget: bool = False) -> None:
        super().__init__(message, hint="it is tried again by itself", status=429)
        self.retry_after = retry_after
        self.disruption_budget = disruption_budget


class Unreachable(KubeError):
    """No answer: refused, reset, no route, or a 5xx of something in between."""

    code_of_class = ErrorCode.Unreachable


class Untrusted(Unreachable):
    """Something answers there, but its certificate does not verify: nothing was sent to it."""

    code_of_class = ErrorCode.CertificateUntrusted


class DeadlineExceeded(KubeError):
    """No answer within the deadline. A write may have happened: observe before doing it again."""

    code_of_class = ErrorCode.Timeout


class WatchExpired(KubeError):
    """The resourceVersion to go on from is too old (HTTP 410): list again."""

    code_of_class = ErrorCode.WatchExpired


JsonPatch = Sequence[Mapping[str, Any]]
"""RFC 6902 operations."""


class KubePort(Protocol):
    """The verbs. Every call has a deadline in seconds and raises only KubeError; field manager and identity are the adapter's."""

    async def get(self, ref: Ref, *, deadline: float = DEFAULT_DEADLINE) -> Manifest | None:
        """The object as it is now (a quorum read), or None."""
        ...

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = DEFAULT_DEADLINE) -> Listing:
        """All objects of a kind, page by page at one resourceVersion. A kind the server does not know is NotFound.

        The deadline is per page. Items carry apiVersion and kind, as those of `get` do.
        """
        ...

    async def create(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """POST; AlreadyExists if the name is taken. What the server stored comes back."""
        ...

    async def apply(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """Server-side apply of the full intent, forced: a field left out is given up.

        With metadata.resourceVersion set, Conflict if it moved. Never includes status, and no nulls.
        """
        ...

    async def patch_status(self, ref: Ref, status: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """Server-side apply of the whole `status`; call it only if it differs from what was read. NotFound if the object is gone."""
        ...

    async def patch_json(
        self,
        ref: Ref,
        patch: JsonPatch | Manifest,
        *,
        resource_version: str = "",
        subresource: Subresource | None = None,
        deadline: float = DEFAULT_DEADLINE,
    ) -> Manifest:
        """A JSON patch (a list) or a merge patch (a mapping). With `resource_version`, a compare-and-swap: Conflict if it moved."""
        ...

    async def create_subresource(
        self, ref: Ref, subresource: Subresource, body: Manifest, *, deadline: float = DEFAULT_DEADLINE
    ) -> Manifest:
        """POST on a sub-resource (an eviction, a token request). An answer without an object comes back as its Status."""
        ...

    async def delete(
        self,
        ref: Ref,
        *,
        preconditions: Preconditions = ANY_STATE,
        propagation: Propagation = Propagation.Background,
        deadline: float = DEFAULT_DEADLINE,
    ) -> bool:
        """Delete it; False if it was not there. True does not say that it is gone: finalizers may hold it."""
        ...

    def watch(self, kind: Kind, *, namespace: str = "", selector: str = "", resource_version: str = "") -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version` (empty: all objects first) until the server ends it; WatchExpired: list again."""
        ...

    async def read_path(self, path: str, *, deadline: float = DEFAULT_DEADLINE) -> str:
        """The text at a path that is no object (`/readyz?verbose`, `/version`, `/metrics`); a non-2xx answer is the error it stands for."""
        ...

    async def close(self) -> None:
        """End its connections. The port may be used again afterwards."""
        ...


class KubeConnector(Protocol):
    """Ports to API servers whose kubeconfig is only known at run time: the business clusters."""

    def connect(self, name: str, kubeconfig: str) -> KubePort:
        """The port for the cluster of that name; the same one as long as the kubeconfig is the same.

        Sessions are bounded in number and close when idle. Contacts nobody; a kubeconfig that cannot be used is a KokError (SecretInvalid).
        """
        ...

    async def forget(self, name: str) -> None:
        """Close and drop the port of a cluster that is gone."""
        ...

"""Objects as they were seen last, by API server and kind: for what may be seconds old. What a risky step depends on is read live.

Fed by the watch, corrected by sweeps and by our own writes; wakes the root keys of what changed. An asyncio structure of one loop.
Treat what comes out as frozen. Compares resourceVersions as numbers (KEP-5504 makes that legal) so that nothing goes back in time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

import orjson
import structlog

from operators.ports.kube import Key, Kind, Manifest, Ref, Watched, WatchEvent, WatchEventType

log = structlog.get_logger(__name__)
Slot = tuple[str, str]
T = TypeVar("T")


@dataclass(slots=True)
class Sum:
    """What is known of one root key as one number: the sum of a hash of every object that wakes it. Costs nothing to ask for, whatever it has."""

    key: Key
    value: int = 0
    objects: int = 0


@dataclass(slots=True)
class Entry:
    """One object. `told` says whether the watch told of exactly this state; `sweeps` counts those that found that it had not.

    `head` has what names and selects it, as an object does; `body` is the object, or its JSON where it is kept small (`Watched.packed`).
    """

    head: Manifest
    body: Manifest | bytes
    told: bool
    sweeps: int = 0
    sums: tuple[Sum, ...] = ()
    """Those of the root keys that it woke; it is counted in each."""
    readings: dict[Callable[[Manifest], Any], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, *, told: bool, packed: bool) -> Entry:
        """From an object as it came."""
        whole = slim(manifest)
        if not packed:
            return cls(whole, whole, told)
        return cls({"metadata": head_of(whole["metadata"])}, orjson.dumps(whole), told)

    @property
    def manifest(self) -> Manifest:
        """The object; of a packed one a new copy each time."""
        if isinstance(self.body, bytes):
            found: Manifest = orjson.loads(self.body)
            return found
        return self.body

    def read(self, read: Callable[[Manifest], T]) -> T:
        """What that function makes of the object: asked once per state, since a pass over one of a thousand reads all of them. Of what is kept
        small nothing more is kept; an error is not kept.
        """
        if isinstance(self.body, bytes):
            return read(self.manifest)
        if read not in self.readings:
            self.readings[read] = read(self.body)
        known: T = self.readings[read]
        return known

    @property
    def version(self) -> int:
        """Its resourceVersion."""
        return version_of(self.head)


class Store:
    """Entries of one kind, by namespace, and by the value of one label where such an index is asked for: a pass over one of a thousand
    Clusters must not look at what belongs to the others.
    """

    def __init__(self, index: str) -> None:
        self._index = index
        self._by_namespace: dict[str, dict[str, Entry]] = {}
        self._by_label: dict[str, set[Slot]] = {}
        self._order: list[Slot] | None = None

    def get(self, slot: Slot) -> Entry | None:
        """The entry, or None."""
        return self._by_namespace.get(slot[0], {}).get(slot[1])

    def put(self, slot: Slot, entry: Entry) -> Entry | None:
        """Take it in, in place of the one before; that one."""
        order, old = self._order, self.pop(slot)
        if old:
            self._order = order  # the same names as before
        self._by_namespace.setdefault(slot[0], {})[slot[1]] = entry
        if value := self._value(entry):
            self._by_label.setdefault(value, set()).add(slot)
        return old

    def pop(self, slot: Slot) -> Entry | None:
        """Take it out; what it was."""
        self._order = None
        names = self._by_namespace.get(slot[0], {})
        entry = names.pop(slot[1], None)
        if entry is None:
            return None
        if not names:
            del self._by_namespace[slot[0]]
        if value := self._value(entry):
            slots = self._by_label[value]
            slots.discard(slot)
            if not slots:
                del self._by_label[value]
        return entry

    def count(self) -> int:
        """How many entries there are."""
        return sum(map(len, self._by_namespace.values()))

    def all(self) -> Iterator[Entry]:
        """Every entry, in no order."""
        for names in self._by_namespace.values():
            yield from names.values()

    def chosen(self, namespace: str, labels: Mapping[str, str]) -> list[Entry]:
        """Entries of a namespace (empty: of all) with these labels, in the order of namespaces and names."""
        if self._index and self._index in labels:
            slots = sorted(slot for slot in self._by_label.get(labels[self._index], ()) if not namespace or slot[0] == namespace)
        elif namespace:
            slots = [(namespace, name) for name in sorted(self._by_namespace.get(namespace, ()))]
        else:
            slots = self._all_in_order()
        found = [self._by_namespace[place][name] for place, name in slots]
        return [entry for entry in found if labels.items() <= labels_of(entry.head).items()] if labels else found

    def _all_in_order(self) -> list[Slot]:
        """Sorted once for as long as no name comes or goes."""
        if self._order is None:
            self._order = sorted((place, name) for place, names in self._by_namespace.items() for name in names)
        return self._order

    def _value(self, entry: Entry) -> str:
        return labels_of(entry.head).get(self._index, "") if self._index else ""


class ObjectCache:
    """What is watched, and what is known of it."""

    def __init__(self, wake: Callable[[Key], None], wake_by_routine: Callable[[Key], None] | None = None) -> None:
        """`wake_by_routine`: for what a sweep found and shows no sign that anybody waits for it; the same as `wake` if not given."""
        self._wake, self._wake_by_routine = wake, wake_by_routine or wake
        self._watched: dict[tuple[str, Kind], Watched] = {}
        self._stores: dict[tuple[str, Kind], Store] = {}
        self._sums: dict[Key, Sum] = {}

    def follow(self, watched: Watched) -> None:
        """Keep objects of that kind from now on. One Watched per server and kind."""
        place = (watched.server, watched.kind)
        if place in self._watched:
            raise ValueError(f"{watched.kind} on {watched.server} is watched already: one Watched per server and kind")
        self._watched[place] = watched
        self._stores[place] = Store(watched.index)

    @property
    def watched(self) -> tuple[Watched, ...]:
        """Everything that is followed."""
        return tuple(self._watched.values())

    def get(self, ref: Ref, *, server: str = "meta") -> Manifest | None:
        """The object as it was seen last, or None. A kind that is not followed is a KeyError, never a silent None."""
        entry = self._stores[server, ref.type].get((ref.namespace, ref.name))
        return entry.manifest if entry else None

    def list(self, kind: Kind, *, namespace: str = "", server: str = "meta", labels: Mapping[str, str] | None = None) -> list[Manifest]:
        """Objects of a kind, by namespace and labels, in the order of their names."""
        return [entry.manifest for entry in self._stores[server, kind].chosen(namespace, labels or {})]

    def count(self, kind: Kind, *, server: str = "meta") -> int:
        """How many objects of a kind there are."""
        return self._stores[server, kind].count()

    def read(self, ref: Ref, read: Callable[[Manifest], T], *, server: str = "meta") -> T | None:
        """What a function makes of an object, or None if there is none. It is asked once per state of the object: it must depend on nothing else."""
        entry = self._stores[server, ref.type].get((ref.namespace, ref.name))
        return entry.read(read) if entry else None

    def read_all(
        self,
        kind: Kind,
        read: Callable[[Manifest], T],
        *,
        namespace: str = "",
        server: str = "meta",
        labels: Mapping[str, str] | None = None,
    ) -> tuple[T, ...]:
        """The same of objects of a kind, in the order of their names."""
        return tuple(entry.read(read) for entry in self._stores[server, kind].chosen(namespace, labels or {}))

    def note(self, watched: Watched, event: WatchEvent) -> None:
        """Take in what the watch tells."""
        if event.type is WatchEventType.Bookmark:
            return
        if event.type is WatchEventType.Deleted:
            self.forget(watched, event.object)
        else:
            self.keep(watched, event.object, told=True)

    def put(self, manifest: Manifest, *, server: str = "meta") -> None:
        """Take in what an own write returned, so that the next pass does not decide on what was before it. Unfollowed kinds are ignored."""
        watched = self._watched.get((server, Ref.of(manifest).type))
        if watched:
            self.keep(watched, manifest, told=False)

    def keep(self, watched: Watched, manifest: Manifest, *, told: bool, swept: bool = False) -> bool:
        """Store a state unless a newer one is known; wakes keys if it is new. Returns whether it was."""
        store, slot = self._stores[watched.server, watched.kind], slot_of(manifest)
        old = store.get(slot)
        if old and old.version >= version_of(manifest):
            old.told = old.told or (told and old.version == version_of(manifest))
            return False
        if not is_selected(watched, manifest):
            return old is not None and self._drop(watched, slot)
        keys = keys_of(watched, manifest)
        if keys:
            entry = Entry.of(manifest, told=told, packed=watched.packed)
            self._count_out(store.put(slot, entry), watched)
            self._count_in(entry, watched, keys)
            by_routine = swept and not is_unanswered(manifest, keys)
            self._wake_all(keys | (keys_of(watched, old.manifest) if old else set()), self._wake_by_routine if by_routine else self._wake)
            return True
        return old is not None and self._drop(watched, slot)

    def forget(self, watched: Watched, manifest: Manifest) -> None:
        """Take in a deletion, unless the object is known in a newer state (made anew under the same name)."""
        slot = slot_of(manifest)
        old = self._stores[watched.server, watched.kind].get(slot)
        if old is None:
            self._wake_all(keys_of(watched, manifest))
        elif old.version <= version_of(manifest) or old.head["metadata"].get("uid") == manifest["metadata"].get("uid"):
            self._drop(watched, slot)

    def _drop(self, watched: Watched, slot: Slot) -> bool:
        entry = self._stores[watched.server, watched.kind].pop(slot)
        self._count_out(entry, watched)
        self._wake_all(keys_of(watched, entry.manifest) if entry else set())
        return True

    def state_of(self, key: Key) -> str:
        """Which states of which objects wake that key, as 32 digits: equal if they are the same, in another process, too. Empty: there are none."""
        known = self._sums.get(key)
        return f"{known.value:032x}" if known else ""

    def _count_in(self, entry: Entry, watched: Watched, keys: Collection[Key]) -> None:
        entry.sums = tuple(self._sums.setdefault(key, Sum(key)) for key in keys)
        mark = _mark_of(watched, entry)
        for each in entry.sums:
            each.value = (each.value + mark) % SUMS
            each.objects += 1

    def _count_out(self, entry: Entry | None, watched: Watched) -> None:
        if entry is None or not entry.sums:
            return
        mark = _mark_of(watched, entry)
        for each in entry.sums:
            each.value = (each.value - mark) % SUMS
            each.objects -= 1
            if not each.objects:
                del self._sums[each.key]

    def entries(self, watched: Watched) -> Iterator[Entry]:
        """For sweeps: every entry, safe to change the cache while going through them."""
        return iter(tuple(self._stores[watched.server, watched.kind].all()))

    def entry(self, watched: Watched, manifest: Manifest) -> Entry | None:
        """For sweeps: what is known of the object with that name."""
        return self._stores[watched.server, watched.kind].get(slot_of(manifest))

    def _wake_all(self, keys: set[Key], wake: Callable[[Key], None] | None = None) -> None:
        for key in sorted(keys):
            (wake or self._wake)(key)


def keys_of(watched: Watched, manifest: Manifest) -> set[Key]:
    """The root keys of an object. One that breaks the mapping is told and left out: it must not stop what all others depend on."""
    try:
        return set(watched.keys_of(manifest))
    except Exception:
        log.exception("mapping to keys broke; this is a bug", kind=str(watched.kind), object="/".join(slot_of(manifest)))
        return set()


def slot_of(manifest: Manifest) -> Slot:
    """Namespace and name."""
    metadata = manifest["metadata"]
    return (metadata.get("namespace") or "", metadata["name"])


def version_of(manifest: Manifest) -> int:
    """The resourceVersion as the number that it is."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def labels_of(manifest: Manifest) -> Mapping[str, str]:
    """Its labels; none is an empty mapping."""
    labels: Mapping[str, str] = manifest["metadata"].get("labels") or {}
    return labels


def is_unanswered(manifest: Manifest, keys: Collection[Key]) -> bool:
    """Whether somebody waits for an answer: it is going, or was changed since its controller looked. `keys`: its root keys; what has no
    status at all is unanswered if it is a root itself.
    """
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return True
    if not status:
        return bool(metadata.get("generation")) and slot_of(manifest) in {(key.namespace, key.name) for key in keys}
    return "observedGeneration" in status and bool(status["observedGeneration"] < metadata.get("generation", 0))


def is_selected(watched: Watched, manifest: Manifest) -> bool:
    """Whether namespace and labels are those that are watched (kopf filters by neither at the server)."""
    if watched.namespace and slot_of(manifest)[0] != watched.namespace:
        return False
    labels = labels_of(manifest)
    for term in filter(None, watched.selector.split(",")):
        name, equals, value = term.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


SUMS = 1 << 128


def _mark_of(watched: Watched, entry: Entry) -> int:
    """One state of one object as a number."""
    metadata = entry.head["metadata"]
    what = (watched.server, str(watched.kind), *slot_of(entry.head), metadata.get("uid", ""), metadata.get("resourceVersion", ""))
    return int.from_bytes(blake2b("\0".join(what).encode(), digest_size=16).digest())


HEAD = ("namespace", "name", "uid", "resourceVersion")


def head_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """What names and selects an object. Labels are the same texts over and over: each is kept once in the process."""
    labels = {sys.intern(name): sys.intern(value) for name, value in (metadata.get("labels") or {}).items()}
    return {**{field: metadata[field] for field in HEAD if field in metadata}, "labels": labels}


def slim(manifest: Manifest) -> Manifest:
    """Without managedFields, which nobody reads and which are half of an object's size."""
    metadata = {field: value for field, value in manifest["metadata"].items() if field != "managedFields"}
    return {**manifest, "metadata": metadata}

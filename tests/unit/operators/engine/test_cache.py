"""The cache never goes back in time, wakes what changed and nothing else, and the sweep finds what nobody told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog

from operators.engine import cache as cache_module
from operators.engine.cache import ObjectCache
from operators.engine.metrics import Metrics
from operators.engine.sweep import Sweeper
from operators.ports.kube import Key, Kind, Listing, Manifest, Ref, Unreachable, Watched, WatchEvent, WatchEventType

POD = Kind("v1", "Pod")


def owner_of(manifest: Manifest) -> list[Key]:
    owner = (manifest["metadata"].get("labels") or {}).get("owner")
    return [Key("test", "ns", owner)] if owner else []


PODS = Watched(POD, owner_of)


def pod(name: str, version: int, owner: str = "a", uid: str = "") -> Manifest:
    metadata = {"name": name, "namespace": "ns", "resourceVersion": str(version), "uid": uid or f"uid-{name}", "managedFields": [1]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": {"owner": owner} if owner else {}}}


@pytest.fixture(params=[False, True], ids=["whole", "packed"], autouse=True)
def packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However objects are kept, all of this holds."""
    monkeypatch.setattr(Bench, "packed", request.param)


class Bench:
    packed = False

    def __init__(self, watched: Watched = PODS) -> None:
        watched = replace(watched, packed=self.packed)
        self.woken: list[str] = []
        self.cache = ObjectCache(lambda key: self.woken.append(key.name))
        self.watched = watched
        self.cache.follow(watched)
        self.listing = Listing((), "1")
        self.metrics = Metrics()
        self.sweeper = Sweeper(self.cache, {"meta": self}, self.metrics)

    async def list(self, kind: Kind, **_: object) -> Listing:
        return self.listing

    def tell(self, kind: WatchEventType, manifest: Manifest) -> list[str]:
        self.woken.clear()
        self.cache.note(self.watched, WatchEvent(kind, manifest))
        return list(self.woken)

    async def sweep(self, at: int, *manifests: Manifest) -> list[str]:
        self.woken.clear()
        self.listing = Listing(manifests, str(at))
        await self.sweeper.sweep()
        return list(self.woken)

    def names(self) -> list[str]:
        return [manifest["metadata"]["name"] for manifest in self.cache.list(POD)]


def test_should_wake_the_root_of_what_changed_and_keep_it_slim():
    bench = Bench()
    assert bench.tell(WatchEventType.Added, pod("p", 5)) == ["a"]
    assert "managedFields" not in bench.cache.get(Ref("v1", "Pod", "ns", "p"))["metadata"]
    assert bench.tell(WatchEventType.Modified, pod("p", 6)) == ["a"]
    assert bench.tell(WatchEventType.Deleted, pod("p", 7)) == ["a"]
    assert bench.names() == []


def test_should_not_go_back_in_time():
    bench = Bench()
    bench.cache.put(pod("p", 9))
    assert bench.tell(WatchEventType.Modified, pod("p", 8)) == []
    assert bench.cache.get(Ref("v1", "Pod", "ns", "p"))["metadata"]["resourceVersion"] == "9"


def test_should_list_in_the_order_of_names_whatever_comes_and_goes():
    bench = Bench()
    for name, version in (("m", 1), ("z", 2), ("a", 3)):
        bench.tell(WatchEventType.Added, pod(name, version))
    assert bench.names() == ["a", "m", "z"]
    bench.tell(WatchEventType.Modified, pod("m", 4))
    bench.tell(WatchEventType.Deleted, pod("a", 5))
    assert bench.names() == ["m", "z"]
    bench.tell(WatchEventType.Added, pod("b", 6))
    assert bench.names() == ["b", "m", "z"]
    assert bench.cache.count(POD) == 3


def test_should_read_each_state_once_and_never_an_old_one():
    bench, asked = Bench(), []

    def version(manifest: Manifest) -> str:
        asked.append(manifest["metadata"]["name"])
        return manifest["metadata"]["resourceVersion"]

    bench.tell(WatchEventType.Added, pod("p", 5))
    bench.tell(WatchEventType.Added, pod("q", 6))
    assert [bench.cache.read_all(POD, version) for _ in range(3)] == [("5", "6")] * 3
    assert Bench.packed or asked == ["p", "q"], "what is kept small is read anew"
    bench.tell(WatchEventType.Added, pod("p", 7))
    assert bench.cache.read(Ref("v1", "Pod", "ns", "p"), version) == "7"
    bench.tell(WatchEventType.Deleted, pod("p", 7))
    assert bench.cache.read_all(POD, version) == ("6",)
    assert bench.cache.read(Ref("v1", "Pod", "ns", "p"), version) is None


def test_should_read_again_what_could_not_be_read():
    bench, answers = Bench(), [ValueError("no"), 3]

    def read(_: Manifest) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench.tell(WatchEventType.Added, pod("p", 5))
    with pytest.raises(ValueError, match="no"):
        bench.cache.read_all(POD, read)
    assert bench.cache.read_all(POD, read) == (3,)


def test_should_not_take_the_deletion_of_an_object_for_that_of_its_successor():
    bench = Bench()
    bench.tell(WatchEventType.Added, pod("p", 9, uid="new"))
    bench.tell(WatchEventType.Deleted, pod("p", 8, uid="old"))
    assert bench.names() == ["p"]


def test_should_wake_both_owners_when_an_object_moves_between_them():
    bench = Bench()
    bench.tell(WatchEventType.Added, pod("p", 5, owner="a"))
    assert bench.tell(WatchEventType.Modified, pod("p", 6, owner="b")) == ["a", "b"]


@pytest.mark.parametrize("watched", [PODS, Watched(POD, owner_of, selector="owner")])
def test_should_drop_what_belongs_to_nobody_any_more(watched):
    bench = Bench(watched)
    bench.tell(WatchEventType.Added, pod("p", 5))
    assert bench.tell(WatchEventType.Modified, pod("p", 6, owner="")) == ["a"]
    assert bench.names() == []


@pytest.mark.parametrize(("selector", "kept"), [("owner=a", True), ("owner=b", False), ("owner", True), ("owner=a,other", False)])
def test_should_select_by_labels(selector, kept):
    bench = Bench(Watched(POD, owner_of, selector=selector))
    bench.tell(WatchEventType.Added, pod("p", 5))
    assert bool(bench.names()) is kept


def test_should_refuse_to_answer_for_a_kind_that_nobody_watches():
    with pytest.raises(KeyError):
        Bench().cache.get(Ref("v1", "Secret", "ns", "s"))


def test_should_not_stop_at_an_object_that_breaks_the_mapping():
    bench = Bench(Watched(POD, lambda manifest: [Key("test", "ns", manifest["spec"]["owner"])]))
    with structlog.testing.capture_logs() as logs:
        assert bench.tell(WatchEventType.Added, pod("p", 5)) == []
    assert [(line["event"], line["object"]) for line in logs] == [("mapping to keys broke; this is a bug", "ns/p")]
    assert bench.tell(WatchEventType.Added, {**pod("q", 6), "spec": {"owner": "a"}}) == ["a"]


async def test_should_wake_on_a_deletion_that_the_watch_missed():
    bench = Bench()
    bench.tell(WatchEventType.Added, pod("gone", 5, owner="a"))
    bench.tell(WatchEventType.Added, pod("here", 6, owner="b"))
    assert await bench.sweep(10, pod("here", 6, owner="b")) == ["a"]
    assert bench.names() == ["here"]
    assert bench.metrics.registry.get_sample_value("kok_watch_missed_total", {"server": "meta", "kind": "Pod"}) == 1


async def test_should_keep_what_was_made_while_the_list_was_read():
    bench = Bench()
    bench.tell(WatchEventType.Added, pod("new", 11))
    assert await bench.sweep(10) == []
    assert bench.names() == ["new"]


async def test_should_find_nothing_where_the_watch_told_all():
    bench = Bench()
    bench.tell(WatchEventType.Added, pod("p", 5))
    assert await bench.sweep(10, pod("p", 5)) == []
    assert bench.sweeper.deaf == ""


async def test_should_take_the_watch_for_dead_at_the_second_sweep_that_finds_the_same():
    bench = Bench()
    assert await bench.sweep(10, pod("p", 5)) == ["a"]
    assert bench.sweeper.deaf == ""
    await bench.sweep(20, pod("p", 5))
    assert "missed 1 changes" in bench.sweeper.deaf


async def test_should_forgive_a_watch_that_was_only_late():
    bench = Bench()
    await bench.sweep(10, pod("p", 5))
    bench.tell(WatchEventType.Seen, pod("p", 5))
    await bench.sweep(20, pod("p", 5))
    assert bench.sweeper.deaf == ""


async def test_should_not_hold_against_the_watch_what_it_could_not_have_told_yet():
    bench = Bench()
    bench.listing = Listing((pod("p", 5),), "10")
    await bench.sweeper.sweep(settling=True)
    await bench.sweeper.sweep(settling=True)
    await bench.sweeper.sweep()
    assert bench.sweeper.deaf == ""


async def test_should_sweep_one_server_while_another_is_down():
    bench = Bench()
    business = Watched(POD, owner_of, server="business")
    woken: list[str] = []
    cache = ObjectCache(lambda key: woken.append(key.name))
    cache.follow(business)
    cache.follow(PODS)

    class Down:
        async def list(self, kind: Kind, **_: object) -> Listing:
            raise Unreachable("business is down")

    bench.listing = Listing((pod("p", 5),), "10")
    with pytest.raises(Unreachable):
        await Sweeper(cache, {"business": Down(), "meta": bench}, Metrics()).sweep()
    assert woken == ["a"]


ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole")


def role(name: str, version: int, owner: str) -> Manifest:
    return {
        "apiVersion": ROLE.api_version,
        "kind": ROLE.kind,
        "metadata": {"name": name, "resourceVersion": str(version), "labels": {"owner": owner}},
    }


def test_should_list_by_an_indexed_label_as_by_looking_through_all():
    indexed, plain = Bench(Watched(ROLE, owner_of, index="owner")), Bench(Watched(ROLE, owner_of))
    for bench in (indexed, plain):
        for number in range(6):
            bench.tell(WatchEventType.Added, role(f"r{number}", number + 1, "a" if number % 2 else "b"))
        bench.tell(WatchEventType.Modified, role("r1", 10, "b"))
        bench.tell(WatchEventType.Deleted, role("r3", 11, "a"))
    for owner in ("a", "b", "c"):
        found = [each["metadata"]["name"] for each in indexed.cache.list(ROLE, labels={"owner": owner})]
        assert found == [each["metadata"]["name"] for each in plain.cache.list(ROLE, labels={"owner": owner})]
    assert [each["metadata"]["name"] for each in indexed.cache.list(ROLE, labels={"owner": "b"})] == ["r0", "r1", "r2", "r4"]
    assert len(indexed.cache.list(ROLE)) == 5


def test_should_not_look_at_other_namespaces(monkeypatch: pytest.MonkeyPatch):
    """What a pass over one Cluster costs must not grow with the fleet."""
    bench = Bench()
    for number in range(50):
        manifest = pod("p", number + 1)
        manifest["metadata"]["namespace"] = f"n{number}"
        bench.tell(WatchEventType.Added, manifest)
    looked: list[Manifest] = []
    monkeypatch.setattr(cache_module, "labels_of", lambda manifest: looked.append(manifest) or {"owner": "a"})
    assert len(bench.cache.list(POD, namespace="n7", labels={"owner": "a"})) == 1
    assert len(looked) == 1


LAMP = Kind("test/v1", "Lamp")


def lamp(version: int, **more: object) -> Manifest:
    metadata = {"name": "a", "namespace": "ns", "resourceVersion": str(version), "generation": 2, **more.pop("metadata", {})}  # type: ignore[dict-item]
    return {"apiVersion": "test/v1", "kind": "Lamp", "metadata": metadata, **more}


@pytest.mark.parametrize(
    ("why", "manifest", "routine"),
    [
        ("it was looked at", lamp(5, status={"observedGeneration": 2}), True),
        ("it was edited meanwhile", lamp(5, status={"observedGeneration": 1}), False),
        ("it is new", lamp(5), False),
        ("it is part of another", lamp(5, metadata={"name": "part"}), True),
        ("its kind tells no generation", lamp(5, status={"phase": "On"}), True),
        ("it is going", lamp(5, status={"observedGeneration": 2}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), False),
    ],
)
async def test_should_look_by_routine_at_what_nobody_waits_for(why: str, manifest: Manifest, routine: bool) -> None:
    news, looks = list[str](), list[str]()
    cache = ObjectCache(lambda key: news.append(key.name), lambda key: looks.append(key.name))
    watched = Watched(LAMP, lambda manifest: [Key("test", "ns", "a")], packed=Bench.packed)
    cache.follow(watched)
    assert cache.keep(watched, manifest, told=False, swept=True)
    assert (news, looks) == ([], ["a"]) if routine else (["a"], []), why
    cache.note(watched, WatchEvent(WatchEventType.Modified, {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "6"}}))
    assert news[-1:] == ["a"], "what the watch tells is news"


A, B = Key("test", "ns", "a"), Key("test", "ns", "b")


def test_should_tell_states_of_keys_apart_and_the_same_in_any_order():
    one, two = Bench(), Bench()
    for bench, order in ((one, (1, 2, 3)), (two, (3, 1, 2))):
        for number in order:
            bench.tell(WatchEventType.Added, pod(f"p{number}", number, owner="b" if number == 3 else "a"))
    assert one.cache.state_of(A) == two.cache.state_of(A) != ""
    assert len({one.cache.state_of(A), one.cache.state_of(B), one.cache.state_of(Key("test", "ns", "c"))}) == 3
    two.tell(WatchEventType.Modified, pod("p1", 9))
    assert one.cache.state_of(A) != two.cache.state_of(A)
    assert one.cache.state_of(B) == two.cache.state_of(B)


def test_should_count_out_what_goes_and_what_changes_its_owner():
    bench = Bench()
    bench.tell(WatchEventType.Added, pod("p", 1))
    before = bench.cache.state_of(A)
    bench.tell(WatchEventType.Added, pod("q", 2))
    bench.tell(WatchEventType.Deleted, pod("q", 3))
    assert bench.cache.state_of(A) == before
    bench.tell(WatchEventType.Modified, pod("p", 4, owner="b"))
    assert bench.cache.state_of(A) == ""
    moved = bench.cache.state_of(B)
    bench.tell(WatchEventType.Modified, pod("p", 5, owner=""))
    assert moved
    assert bench.cache.state_of(B) == ""


def test_should_see_another_object_of_the_same_name_as_another_state():
    one, two = Bench(), Bench()
    one.tell(WatchEventType.Added, pod("p", 5, uid="first"))
    two.tell(WatchEventType.Added, pod("p", 5, uid="second"))
    assert one.cache.state_of(A) != two.cache.state_of(A)


def test_should_count_in_and_out_by_the_keys_of_that_time():
    """Whose package changes is looked up when it changes: what was counted in under one key is counted out under it."""
    owners = ["a"]
    bench = Bench(Watched(POD, lambda manifest: [Key("test", "ns", owner) for owner in owners]))
    bench.tell(WatchEventType.Added, pod("p", 1))
    owners.append("b")
    bench.tell(WatchEventType.Deleted, pod("p", 2))
    assert bench.cache.state_of(A) == bench.cache.state_of(B) == ""

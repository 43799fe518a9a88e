"""What kopf tells and what it does not: two servers in one process, a deletion missed across a re-list, and the sweep that finds it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import Credentials, kubeconfig_credentials
from operators.engine.cache import ObjectCache
from operators.engine.metrics import Metrics
from operators.engine.sweep import Sweeper
from operators.ports.kube import Key, Kind, Manifest, Watched, WatchEvent
from tests.integration.api_server import ApiServer
from tests.integration.engine.test_process import eventually

pytestmark = pytest.mark.integration

CONFIG_MAP = Kind("v1", "ConfigMap")


def keys_of(manifest: Manifest) -> list[Key]:
    return [Key("test", manifest["metadata"]["namespace"], manifest["metadata"]["name"])]


def config_map(name: str, namespace: str = "default", **labels: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, "labels": labels}}


class Watching:
    """A watch layer that feeds a cache in this loop, as `Process` does it."""

    def __init__(self, credentials: Credentials, watched: Watched, *, namespaces: tuple[str, ...] = (), since: str = "") -> None:
        self.told: list[tuple[str, str]] = []
        self.woken: list[str] = []
        self.ended: list[BaseException | None] = []
        self.cache = ObjectCache(lambda key: self.woken.append(key.name))
        self.cache.follow(watched)
        self.watched = watched
        self.layer = KopfWatch(credentials, [watched], namespaces=namespaces)
        loop = asyncio.get_running_loop()

        def deliver(watched: Watched, event: WatchEvent) -> None:
            self.told.append((event.type, event.object["metadata"]["name"]))
            loop.call_soon_threadsafe(self.cache.note, watched, event)

        versions = {watched: since} if since else {}
        self.layer.start(deliver, lambda error: loop.call_soon_threadsafe(self.ended.append, error), versions)

    def names(self) -> set[str]:
        """What the cache knows, without what a controller manager (of another test's) puts into every namespace."""
        return {manifest["metadata"]["name"] for manifest in self.cache.list(CONFIG_MAP, server=self.watched.server)} - {"kube-root-ca.crt"}


Watch = Callable[..., Watching]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Starts a Watching; all are stopped at the end, also of a test that failed."""
    started: list[Watching] = []

    def start(credentials: Credentials, watched: Watched, *, namespaces: tuple[str, ...] = (), since: str = "") -> Watching:
        started.append(Watching(credentials, watched, namespaces=namespaces, since=since))
        return started[-1]

    yield start
    for each in started:
        await asyncio.to_thread(each.layer.stop)


class Cable:
    """A TCP proxy in front of an API server that can be cut."""

    def __init__(self, port: int) -> None:
        self._target, self.port = port, 0
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def lay(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    def cut(self) -> None:
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def mend(self) -> None:
        self._cut = False


@pytest.fixture(scope="module")
def second_server() -> Iterator[ApiServer]:
    """Of this file alone: one test restarts it."""
    with ApiServer() as server:
        yield server


@pytest.fixture
async def cable(second_server: ApiServer) -> AsyncIterator[Cable]:
    cable = Cable(second_server.port)
    await cable.lay()
    yield cable
    cable.cut()
    cable._server.close()


def admin(server: ApiServer) -> Credentials:
    return kubeconfig_credentials(server.admin_kubeconfig.read_text())


async def test_should_find_by_a_sweep_the_deletion_that_kopf_missed(second_server, cable, watch):
    kube = KubeClient(admin(second_server), field_manager="test")
    for name in ("stays", "goes"):
        await kube.create(config_map(name))
    far = dataclasses.replace(admin(second_server), server=f"https://127.0.0.1:{cable.port}")
    watching = watch(far, Watched(CONFIG_MAP, keys_of, "default"), namespaces=("default",))
    await eventually(lambda: watching.names() >= {"stays", "goes"})
    cable.cut()
    await kube.delete(CONFIG_MAP.ref("goes", "default"))
    await kube.create(config_map("comes"))
    second_server.stop()
    second_server.start()  # with a fresh watch cache: kopf must list again; not by a thread, with whose end it would be killed
    cable.mend()
    await eventually(lambda: "comes" in watching.names(), 60)
    await asyncio.sleep(1)
    watching.woken.clear()
    assert "goes" in watching.names(), "kopf told of it after all: then this test, and the sweep's reason, are out of date"
    sweeper = Sweeper(watching.cache, {"meta": kube}, Metrics())
    await sweeper.sweep()
    assert watching.woken == ["goes"]
    assert "goes" not in watching.names()
    await sweeper.sweep()
    assert sweeper.deaf == ""
    await kube.close()


async def test_should_tell_of_a_deletion_by_itself_while_the_watch_holds(kube, api_server, namespace, watch):
    watching = watch(admin(api_server), Watched(CONFIG_MAP, keys_of, namespace), namespaces=(namespace,))
    await kube.create(config_map("one", namespace))
    await eventually(lambda: watching.names() == {"one"})
    await kube.delete(CONFIG_MAP.ref("one", namespace))
    await eventually(lambda: watching.names() == set())
    await asyncio.to_thread(watching.layer.stop)
    await eventually(lambda: watching.ended == [None])


@pytest.mark.parametrize("past", [True, False], ids=["as shipped", "as kopf does it"])
async def test_should_begin_no_work_for_each_object_of_a_list(kube, api_server, namespace, watch, monkeypatch, past):
    """The control shows that the tasks of kopf's workers are what is counted: each waits a second for more before it ends."""
    if not past:
        monkeypatch.setattr(KopfWatch, "_listener", lambda self, deliver: None)
    names = {f"listed-{number}" for number in range(20)}
    await asyncio.gather(*(kube.create(config_map(name, namespace)) for name in names))
    watching = watch(admin(api_server), Watched(CONFIG_MAP, keys_of, namespace), namespaces=(namespace,))
    await eventually(lambda: watching.names() == names)
    workers = [task for task in asyncio.all_tasks(watching.layer._loop) if task.get_name().startswith("worker for")]
    assert bool(workers) is not past
    await kube.create(config_map("later", namespace))
    await eventually(lambda: "later" in watching.names())


async def test_should_go_on_where_its_caller_listed(kube, api_server, namespace, watch):
    """Nothing is told twice, and nothing between the list and the watch is lost, deletions least of all."""
    for name in ("stays", "goes"):
        await kube.create(config_map(name, namespace))
    listed = await kube.list(CONFIG_MAP, namespace=namespace)
    await kube.delete(CONFIG_MAP.ref("goes", namespace))
    await kube.create(config_map("comes", namespace))
    watching = watch(admin(api_server), Watched(CONFIG_MAP, keys_of, namespace), namespaces=(namespace,), since=listed.resource_version)
    await eventually(lambda: "comes" in watching.names())
    assert watching.told == [("DELETED", "goes"), ("ADDED", "comes")]
    await kube.delete(CONFIG_MAP.ref("comes", namespace))
    await eventually(lambda: watching.names() == set())


async def test_should_list_for_itself_where_the_server_has_forgotten_that_version(kube, api_server, namespace, watch):
    await kube.create(config_map("one", namespace))
    await kube.create(config_map("two", namespace))
    watching = watch(admin(api_server), Watched(CONFIG_MAP, keys_of, namespace), namespaces=(namespace,), since="1")
    await eventually(lambda: watching.names() == {"one", "two"})
    assert watching.ended == []


async def test_should_watch_two_servers_in_one_process(kube, api_server, second_server, namespace, watch):
    business = KubeClient(admin(second_server), field_manager="test")
    one = watch(admin(api_server), Watched(CONFIG_MAP, keys_of, namespace), namespaces=(namespace,))
    two = watch(admin(second_server), Watched(CONFIG_MAP, keys_of, "default", server="business"), namespaces=("default",))
    await kube.create(config_map("in-meta", namespace))
    await business.create(config_map("in-business"))
    await eventually(lambda: one.names() == {"in-meta"} and "in-business" in two.names())
    await asyncio.to_thread(one.layer.stop)
    await eventually(lambda: one.ended == [None])
    assert two.ended == []
    await business.create(config_map("later"))
    await eventually(lambda: two.names() >= {"in-business", "later"})
    await business.close()


async def test_should_leave_no_trace_on_what_it_watches(kube, api_server, namespace, watch):
    watching = watch(admin(api_server), Watched(CONFIG_MAP, keys_of, namespace), namespaces=(namespace,))
    made = await kube.create(config_map("one", namespace))
    await eventually(lambda: watching.names() == {"one"})
    await asyncio.sleep(1)
    after = await kube.get(CONFIG_MAP.ref("one", namespace))
    assert after["metadata"] == made["metadata"]


async def test_should_ask_the_server_only_for_what_is_selected(kube, api_server, namespace, watch):
    watched = Watched(CONFIG_MAP, keys_of, namespace, selector="app=mine")
    watching = watch(admin(api_server), watched, namespaces=(namespace,))
    told: list[str] = []
    note = watching.cache.note
    watching.cache.note = lambda watched, event: (told.append(event.object["metadata"]["name"]), note(watched, event))
    await kube.create(config_map("theirs", namespace, app="theirs"))
    await kube.create(config_map("mine", namespace, app="mine"))
    await eventually(lambda: watching.names() == {"mine"})
    assert set(told) == {"mine"}


async def test_should_need_no_rights_beyond_its_namespace(kube, kube_as, api_server, namespace, watch):
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "reader", "namespace": namespace}}
    await kube.apply({**role, "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]})
    subject = {"kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    await kube.apply({**role, "kind": "RoleBinding", "subjects": [subject], "roleRef": reference})
    reader = kubeconfig_credentials(api_server.kubeconfig("reader"))
    watching = watch(reader, Watched(CONFIG_MAP, keys_of, namespace), namespaces=(namespace,))
    await kube.create(config_map("one", namespace))
    await eventually(lambda: watching.names() == {"one"})


async def test_should_watch_cluster_scoped_kinds_from_a_namespaced_layer(kube, api_server, namespace, watch):
    priority = Kind("scheduling.k8s.io/v1", "PriorityClass")
    watched = Watched(priority, lambda manifest: [Key("test", "", manifest["metadata"]["name"])])
    watching = watch(admin(api_server), watched, namespaces=(namespace,))
    await kube.create({"apiVersion": priority.api_version, "kind": priority.kind, "metadata": {"name": namespace}, "value": 1})
    await eventually(lambda: namespace in watching.woken)


async def test_should_not_hear_of_other_namespaces(kube, api_server, namespace, watch):
    watching = watch(admin(api_server), Watched(CONFIG_MAP, keys_of), namespaces=(namespace,))
    await kube.create(config_map("elsewhere", "default"))
    await kube.create(config_map("beside", namespace))
    await eventually(lambda: "beside" in watching.names())
    assert watching.names() == {"beside"}

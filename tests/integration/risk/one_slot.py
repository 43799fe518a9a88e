"""Who races for one slot, and who watches them: both operators and a person, each as itself, two risk centres at once, an eye of its own.

Real: an API server with the shipped admission policies, the ways in which the operators ask (`acquire` of planes, the machine's actor), and what a
person types. Two risk centres answer everything at the same moment, as in a split brain: one alone takes turns with itself, which hides a lost compare.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

from meta_cluster.cli.main import run
from operators.adapters.catalogue_files import FileCatalogue
from operators.adapters.grants_kube import GRANTS, KubeGrants
from operators.adapters.kube import KubeClient
from operators.api.base import API_VERSION
from operators.api.cluster import Cluster
from operators.api.risk import Operation, Outcome
from operators.cluster_operator.cluster.grants import Act, acquire
from operators.cluster_operator.cluster.world import World
from operators.domain.machine.steps import Workflow
from operators.domain.machine.view import MachineView, Ownership
from operators.engine.cache import ObjectCache
from operators.machine_operator.machine.act import Actor
from operators.machine_operator.world import Identity
from operators.ports.grants import Grant
from operators.ports.kube import KubePort, Listing, Manifest, Ref, WatchEventType
from operators.services.ledger import ledger_ref, read_ledger
from tests.integration.api_server import ApiServer
from tests.integration.cluster_operator.world_of_planes import OneBusinessServer, cluster_manifest
from tests.integration.risk.risk_centres import Centre
from tests.unit.operators.domain.machine.builders import claim, right, with_

NAMESPACE = CLUSTER = "demo"
BREAK_GLASS = ("--as", "jane", "--as-group", "system:masters", "--as-group", "kok:break-glass")
UNANSWERED, SAYS_NO = "has not answered yet", "OperationBudget one-slot says no by its concurrency"
Found = TypeVar("Found")
LOOK, ANSWERED_WITHIN = 0.02, 60.0
OPERATIONS = [Operation.RestartMaster, Operation.Drain, Operation.Reboot]


def ground(server: ApiServer) -> Iterator[Manifest]:
    """A Cluster with a pool of two hosts, an empty Ledger, and one budget: one target of all of it at a time."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield cluster_manifest(NAMESPACE, CLUSTER)
    metadata = {"name": f"{CLUSTER}-operator-kubeconfig", "namespace": NAMESPACE}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"kubeconfig": server.admin_kubeconfig.read_text()}}
    hosts = [
        {"name": name, "address": f"192.0.2.{number}", "hostKeys": ["ssh-ed25519 AAAA"]} for number, name in enumerate(("m1", "m2"), 1)
    ]
    pool = {"clusterName": CLUSTER, "hosts": hosts, "packages": {"follow": "Cluster"}}
    yield {"apiVersion": API_VERSION, "kind": "MachinePool", "metadata": {"name": "workers", "namespace": NAMESPACE}, "spec": pool}
    scope = {"per": "Cluster", "clusters": {"all": True}}
    budget = {"operations": [each.value for each in OPERATIONS], "scope": scope, "concurrency": {"count": 1}}
    yield {"apiVersion": API_VERSION, "kind": "OperationBudget", "metadata": {"name": "one-slot"}, "spec": budget}
    yield {"apiVersion": API_VERSION, "kind": "Ledger", "metadata": {"name": "ledger", "namespace": NAMESPACE}, "spec": {"inFlight": []}}


@dataclass
class Target:
    """What they act on: who is inside tells it, and it counts them."""

    inside: set[str] = field(default_factory=set)
    most: int = 0
    acted: list[str] = field(default_factory=list)

    @contextmanager
    def acted_on(self, who: str) -> Iterator[None]:
        """While somebody acts."""
        self.inside.add(who)
        self.acted.append(who)
        self.most = max(self.most, len(self.inside))
        yield
        self.inside.remove(who)


@dataclass
class ClusterOperatorAsks:
    """A member of an etcd is to be restarted: `acquire`, as every step of a plane does."""

    kube: KubeClient
    target: Target
    name: ClassVar[str] = "Cluster-Operator"

    async def compete(self, number: int, seconds: float) -> bool:
        """One round; whether it got the slot, which it then uses for so long."""
        grants = KubeGrants(self.kube, now=self.kube.now)
        cache = ObjectCache(lambda key: None)
        world = World(self.kube, cache, OneBusinessServer(self.kube), FileCatalogue(), own_namespace=NAMESPACE, grants=grants)
        cluster = Cluster.parse(cluster_manifest(NAMESPACE, CLUSTER))
        act = Act(Operation.RestartMaster, "Pod", "demo-etcd-0", f"pod-{number}", workflow="roll", step="etcd", reason="a new template")

        async def ask() -> Grant | str:
            answer = await acquire(world, cluster, act)
            return answer if isinstance(answer, Grant) else answer.reason

        return await _acted(self, grants, ask, seconds)


@dataclass
class MachineOperatorAsks:
    """A host is to be drained: the leave that the machine's own actor asks for."""

    kube: KubeClient
    target: Target
    name: ClassVar[str] = "Machine-Operator"

    async def compete(self, number: int, seconds: float) -> bool:
        """See ClusterOperatorAsks."""
        grants = KubeGrants(self.kube, now=self.kube.now)
        hands = SimpleNamespace(identity=Identity(NAMESPACE, CLUSTER, ""), hands=SimpleNamespace(grants=grants))
        actor = Actor(hands, None, None, None)  # type: ignore[arg-type]  # what asking needs of it
        return await _acted(self, grants, lambda: actor._leave(_machine(number), Operation.Drain, Workflow.decommission), seconds)


def _machine(number: int) -> MachineView:
    """Host m1 under a claim of this round's own: another act than that of the round before."""
    own = claim()
    own = own.model_copy(update={"metadata": own.metadata.model_copy(update={"uid": f"claim-{number}"})})
    return with_(right(), owned=Ownership(own))


async def _acted(
    who: ClusterOperatorAsks | MachineOperatorAsks, grants: KubeGrants, ask: Callable[[], Awaitable[Grant | str]], seconds: float
) -> bool:
    """Ask until it is answered; re-read the grant right before the act; report the end."""
    answer = await ask()
    async with asyncio.timeout(ANSWERED_WITHIN):
        while isinstance(answer, str) and UNANSWERED in answer:
            await asyncio.sleep(LOOK)
            answer = await ask()
    if isinstance(answer, str):
        assert SAYS_NO in answer, answer
        return False
    await grants.verify(answer, operation=answer.operation, target=answer.target.name)
    with who.target.acted_on(who.name):
        await asyncio.sleep(seconds)
    await grants.settle(answer, Outcome.Succeeded)
    return True


@dataclass
class PersonAsks:
    """Jane, in need: creates an OperationGrant for host m2, looks for the answer, and ends with `kok budget settle`. No patience: denied, she asks once more at once."""

    kube: KubeClient
    target: Target
    kubeconfig: str
    name: ClassVar[str] = "a person"

    async def compete(self, number: int, seconds: float) -> bool:
        """See ClusterOperatorAsks."""
        for attempt in range(2):
            made = await self.kube.create(_by_hand(number, attempt))
            if await self._is_granted(made):
                with self.target.acted_on(self.name):
                    await asyncio.sleep(seconds)
                name = made["metadata"]["name"]
                words = ["budget", "settle", name, "-n", NAMESPACE, "--outcome", "Succeeded", "--yes", "--kubeconfig", self.kubeconfig]
                assert await asyncio.to_thread(run, [*words, *BREAK_GLASS]) == 0
                return True
        return False

    async def _is_granted(self, made: Manifest) -> bool:
        async def answer() -> Manifest:
            status: Manifest = (await self.kube.get(Ref.of(made)) or {}).get("status") or {}
            return status if status.get("decision") else {}

        status = await becomes(answer)
        assert status["decision"] == "Granted" or SAYS_NO in status["message"], status
        return bool(status["decision"] == "Granted")


def _by_hand(number: int, attempt: int) -> Manifest:
    target = {"kind": "Machine", "name": "m2", "cluster": CLUSTER, "pool": "workers"}
    spec = {"operation": "Reboot", "target": target, "requester": "person/jane", "attempt": attempt, "reason": "its fan is loud"}
    metadata = {"name": f"jane-reboots-m2-{number}-{attempt}", "namespace": NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": "OperationGrant", "metadata": metadata, "spec": spec}


Contender = ClusterOperatorAsks | MachineOperatorAsks | PersonAsks


@asynccontextmanager
async def answering(centre: Centre) -> AsyncIterator[None]:
    """While it is entered, the risk centre looks at every grant that changes, at once, as its watch would wake it."""
    version = (await centre.kube.list(GRANTS, namespace=NAMESPACE)).resource_version

    async def answer(passes: asyncio.TaskGroup) -> None:
        async for event in centre.kube.watch(GRANTS, namespace=NAMESPACE, resource_version=version):
            if event.type in (WatchEventType.Added, WatchEventType.Modified):
                passes.create_task(centre.until_quiet(event.object["metadata"]["name"]))

    async def work() -> None:
        async with asyncio.TaskGroup() as passes:
            passes.create_task(answer(passes))

    async with _in_the_background(work()):
        yield


@dataclass
class Eye:
    """Counts holders from every version of every OperationGrant, and slots from every version of the Ledger. Asks nobody, and decides nothing."""

    kube: KubePort
    ledger: Ref = field(default_factory=lambda: ledger_ref(NAMESPACE))
    counted: Callable[[Manifest], bool] = lambda _: True
    """Which grants and slots are of the race, by a grant's spec or a slot; all of them on a server of its own."""
    holders: set[str] = field(default_factory=set)
    slots: set[str] = field(default_factory=set)
    most: int = 0
    most_slots: int = 0
    worst: tuple[str, ...] = ()
    seen: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While it is entered it sees all."""
        listing = await self.kube.list(GRANTS, namespace=NAMESPACE)
        grants, known = listing.resource_version, _versions(listing)
        ledgers = (await self.kube.list(self.ledger.type, namespace=self.ledger.namespace)).resource_version

        async def look() -> None:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._at_grants(grants))
                both.create_task(self._at_ledger(ledgers))

        async with _in_the_background(look()):
            yield
            await self._caught_up(known)

    async def _at_grants(self, version: str) -> None:
        async for event in self.kube.watch(GRANTS, namespace=NAMESPACE, resource_version=version):
            metadata, status = event.object["metadata"], event.object.get("status") or {}
            if event.type is WatchEventType.Bookmark:
                continue
            self.seen[metadata["name"]] = metadata["resourceVersion"]
            if not self.counted(event.object["spec"]):
                continue
            name = metadata["name"]
            may_act = status.get("decision") == "Granted" and not event.object["spec"].get("outcome") and not status.get("settledAt")
            (self.holders.add if may_act and event.type is not WatchEventType.Deleted else self.holders.discard)(name)
            if len(self.holders) > self.most:
                self.most, self.worst = len(self.holders), tuple(sorted(self.holders))

    async def _at_ledger(self, version: str) -> None:
        async for event in self.kube.watch(self.ledger.type, namespace=self.ledger.namespace, resource_version=version):
            if event.type is not WatchEventType.Bookmark:
                taken = [each for each in event.object["spec"].get("inFlight") or () if self.counted(each)]
                self.most_slots = max(self.most_slots, len(taken))

    async def _caught_up(self, known: dict[str, str]) -> None:
        """It has seen the last version of everything that changed since it was opened; what is forgotten meanwhile was over long before."""

        async def is_level() -> bool:
            return _versions(await self.kube.list(GRANTS, namespace=NAMESPACE)).items() <= (known | self.seen).items()

        await becomes(is_level)


def _versions(listing: Listing) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in listing.items}


@asynccontextmanager
async def _in_the_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """What goes wrong in it goes wrong in the test."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception():
            raise task.exception() or AssertionError


async def becomes(look: Callable[[], Awaitable[Found]]) -> Found:
    """What is found, once it is anything."""
    for _ in range(int(ANSWERED_WITHIN / LOOK)):
        if found := await look():
            return found
        await asyncio.sleep(LOOK)
    raise AssertionError(f"nothing after {ANSWERED_WITHIN:.0f} s")


async def until_free(kube: KubePort) -> None:
    """The slot is given back."""

    async def is_free() -> bool:
        return not (await read_ledger(kube, ledger_ref(NAMESPACE))).spec.in_flight

    await becomes(is_free)


async def emptied(kube: KubePort) -> None:
    """The Ledger as it was at the beginning, whatever a broken round left in it."""
    await kube.patch_json(ledger_ref(NAMESPACE), {"spec": {"inFlight": []}})

"""Who may write journals and grants: the shipped policies on a real API server, and that without their bindings the forbidden goes through.

Everybody here is a cluster admin for RBAC, so what stops them is admission. Writes are dry runs: the server decides and stores nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.ports.kube import Forbidden, Kind, KubePort, Manifest, Ref, Subresource
from tests.integration.api_server import ApiServer
from tests.sample_manifests import sample_path

pytestmark = pytest.mark.integration

MANIFESTS = Path(__file__).parents[3] / "manifests"
POLICIES = MANIFESTS / "operators" / "base" / "journals-admission.yaml"
BINDING = Kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding")
JOURNALS: dict[str, Manifest] = {
    each["kind"]: each for each in yaml.safe_load_all(sample_path("journals.yaml").read_text(encoding="utf-8"))
}
IDENTITIES = {
    "an admin": ("jane", "system:masters"),
    "an admin in need": ("jane", "system:masters", "kok:break-glass"),
    "the Cluster-Operator": ("system:serviceaccount:kok-system:kok-cluster-operator", "system:masters"),
    "its Machine-Operator": ("system:serviceaccount:demo:demo-machine-operator", "system:masters"),
    "another's Machine-Operator": ("system:serviceaccount:prod:prod-machine-operator", "system:masters"),
    "another Machine-Operator there": ("system:serviceaccount:demo:prod-machine-operator", "system:masters"),
    "a neighbour": ("system:serviceaccount:demo:web", "system:masters"),
    "the namespace controller": ("system:serviceaccount:kube-system:namespace-controller", "system:masters"),
}
OPERATORS_AND_NEED = {"the Cluster-Operator", "an admin in need"}
POOL_WRITERS = OPERATORS_AND_NEED | {"its Machine-Operator", "another Machine-Operator there"}
CLEANERS = {"the namespace controller"}
ALLOWED = {
    ("ClusterRelease", "create"): OPERATORS_AND_NEED,
    ("ClusterRelease", "update"): OPERATORS_AND_NEED,
    ("ClusterRelease", "delete"): OPERATORS_AND_NEED | CLEANERS,
    ("Ledger", "create"): OPERATORS_AND_NEED,
    ("Ledger", "update"): OPERATORS_AND_NEED,
    ("Ledger", "delete"): OPERATORS_AND_NEED | CLEANERS,
    ("MachinePoolRelease", "create"): POOL_WRITERS,
    ("MachinePoolRelease", "update"): POOL_WRITERS,
    ("MachinePoolRelease", "delete"): POOL_WRITERS | CLEANERS,
    ("HostClaim", "create"): POOL_WRITERS,
    ("HostClaim", "update"): POOL_WRITERS,
    ("HostClaim", "delete"): POOL_WRITERS | CLEANERS,
    ("OperationGrant", "create"): OPERATORS_AND_NEED | {"its Machine-Operator"},
    ("OperationGrant", "update"): OPERATORS_AND_NEED | {"its Machine-Operator"},
    ("OperationGrant", "answer"): OPERATORS_AND_NEED,
    ("OperationGrant", "delete"): OPERATORS_AND_NEED | CLEANERS,
}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """One of its own: the policies would bind every other test. The journals of the samples are in it."""
    with ApiServer() as server:
        server.install_kinds()
        for namespace in ("demo", "prod", "kok-system"):
            server.kubectl("create", "namespace", namespace)
        server.kubectl("apply", "-f", str(sample_path("journals.yaml")))
        server.kubectl("apply", "--server-side", "-f", str(POLICIES))
        yield server


As = Callable[[str], KubePort]


@pytest.fixture
async def as_(server: ApiServer) -> AsyncIterator[As]:
    """A port for each identity; the policies are in force."""
    clients: list[KubeClient] = []

    def make(identity: str) -> KubePort:
        user, *groups = IDENTITIES[identity]
        clients.append(KubeClient(kubeconfig_credentials(server.kubeconfig(user, groups=groups)), field_manager="test", dry_run=True))
        return clients[-1]

    await until(lambda: is_in_force(make("an admin")))
    yield make
    for client in clients:
        await client.close()


async def until(condition: Callable[[], Awaitable[bool]], tries: int = 200) -> None:
    """Policies and bindings take effect a moment after they were written."""
    for _ in range(tries):
        if await condition():
            return
        await asyncio.sleep(0.1)
    pytest.fail("the policies' state never became what it should")


async def is_in_force(admin: KubePort) -> bool:
    return not any([await allows(admin, kind, "update") for kind in ("ClusterRelease", "OperationGrant")])


async def allows(kube: KubePort, kind: str, verb: str) -> bool:
    """Whether the write would be done. Refused by anything but our policies is a failure of the test."""
    try:
        await write(kube, JOURNALS[kind], verb)
    except Forbidden as error:
        if "kok:break-glass" not in error.message:
            raise
        return False
    return True


async def write(kube: KubePort, journal: Manifest, verb: str) -> None:
    ref, touch = Ref.of(journal), {"metadata": {"annotations": {"touched": "yes"}}}
    match verb:
        case "create":
            await kube.create({**journal, "metadata": journal["metadata"] | {"name": "another"}})
        case "update":
            await kube.patch_json(ref, touch)
        case "answer":
            await kube.patch_json(ref, {"status": {"decision": "Granted"}}, subresource=Subresource.Status)
        case "delete":
            assert await kube.delete(ref)


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_should_let_only_the_operators_write_journals(as_: As, identity: str) -> None:
    kube = as_(identity)
    found = {case: await allows(kube, *case) for case in ALLOWED}
    assert found == {case: identity in writers for case, writers in ALLOWED.items()}


async def test_should_let_an_installation_make_the_first_ledger_empty(as_: As) -> None:
    ledger = JOURNALS["Ledger"]
    empty = {**ledger, "metadata": {"name": "first", "namespace": "kok-system"}, "spec": {"inFlight": []}}
    await as_("an admin").create(empty)
    with pytest.raises(Forbidden):
        await as_("an admin").create({**empty, "spec": ledger["spec"]})


async def test_should_keep_a_machine_operator_from_claims_of_others(as_: As) -> None:
    """Neither by taking one over nor by giving one away."""
    claim, theirs = JOURNALS["HostClaim"], {"spec": {"namespace": "prod"}}
    for identity in ("its Machine-Operator", "another's Machine-Operator"):
        with pytest.raises(Forbidden):
            await as_(identity).patch_json(Ref.of(claim), theirs)
    await as_("the Cluster-Operator").patch_json(Ref.of(claim), theirs)


@pytest.mark.parametrize(
    "changes", [{"requester": "machine-operator/prod"}, {"requester": "cluster-operator"}, {"target": {"cluster": "prod"}}]
)
async def test_should_keep_a_machine_operator_from_asking_as_another(as_: As, changes: dict[str, Any]) -> None:
    grant = JOURNALS["OperationGrant"]
    spec = {**grant["spec"], **changes, "target": grant["spec"]["target"] | changes.get("target", {})}
    with pytest.raises(Forbidden):
        await as_("its Machine-Operator").create({**grant, "metadata": {"name": "other", "namespace": "demo"}, "spec": spec})


async def test_should_be_the_bindings_that_refuse(server: ApiServer, as_: As) -> None:
    """The positive control. Last in this file: it takes the policies' bindings away."""
    admin = as_("an admin")
    assert not await allows(admin, "Ledger", "delete")
    server.kubectl("delete", "validatingadmissionpolicybinding", "journals.kok.dev", "grants.kok.dev")

    async def nothing_is_refused() -> bool:
        return all([await allows(admin, *case) for case in ALLOWED])

    await until(nothing_is_refused)

"""How a Ledger comes to be: made once by an installation, made anew only because a person asked. Called by meta_cluster, never by an operator.

An empty Ledger in place of a lost one would give every slot away a second time, so nothing here makes one while grants are live.
"""

from __future__ import annotations

from operators.api.base import API_VERSION
from operators.api.risk import LedgerSpec, OperationGrant
from operators.domain.risk.retention import rebuilt_ledger
from operators.errors import ErrorCode, KokError
from operators.ports.kube import AlreadyExists, Kind, KubePort, Manifest
from operators.services.ledger import SYSTEM_NAMESPACE, ledger_ref, read_ledger

GRANTS = Kind(API_VERSION, "OperationGrant")


async def install_ledger(kube: KubePort, namespace: str = SYSTEM_NAMESPACE) -> bool:
    """Make the first Ledger; True if it was made, False if there is one (which is left as it is, readable or not).

    Raises KokError LedgerUnreadable if there is none although grants are live: then one was lost, and `rebuild_ledger` is the verb.
    """
    if await kube.get(ledger_ref(namespace)) is not None:
        return False
    live = (await _implied(kube, epoch=0)).in_flight
    if live:
        raise KokError(
            ErrorCode.LedgerUnreadable,
            f"the Ledger is missing although {len(live)} OperationGrants are live, for example {live[0].namespace}/{live[0].op_id}: it was lost",
            "rebuild it from the stored grants; an empty one would allow everything a second time",
        )
    try:
        await kube.create(_manifest_of(LedgerSpec(), namespace))
    except AlreadyExists:
        return False
    return True


async def rebuild_ledger(kube: KubePort, *, epoch: int, namespace: str = SYSTEM_NAMESPACE) -> LedgerSpec:
    """Make the Ledger anew from the stored OperationGrants; a person's verb, for one that is missing or not understood.

    `epoch`: that of the risk centre in office (its Lease says it), so that older ones stay out. Slots whose OperationGrant was deleted are
    not known any more: the caller says so. Raises KokError AlreadyExists if the Ledger can be read, InvalidObject for a grant that cannot.
    """
    ref = ledger_ref(namespace)
    found = await kube.get(ref)
    if found is not None and await _is_readable(kube, namespace):
        raise KokError(ErrorCode.AlreadyExists, f"{ref} can be read: there is nothing to rebuild", "delete it first if it is wrong")
    spec = await _implied(kube, epoch)
    manifest = _manifest_of(spec, namespace)
    if found is None:
        await kube.create(manifest)
    else:
        version = str(found["metadata"]["resourceVersion"])
        await kube.patch_json(ref, [{"op": "add", "path": "/spec", "value": manifest["spec"]}], resource_version=version)
    return spec


async def _is_readable(kube: KubePort, namespace: str) -> bool:
    try:
        await read_ledger(kube, ledger_ref(namespace))
    except KokError:
        return False
    return True


async def _implied(kube: KubePort, epoch: int) -> LedgerSpec:
    listing = await kube.list(GRANTS)
    return rebuilt_ledger([OperationGrant.parse(item) for item in listing.items], epoch)


def _manifest_of(spec: LedgerSpec, namespace: str) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "Ledger",
        "metadata": {"name": ledger_ref().name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "kok"}},
        "spec": spec.model_dump(mode="json", by_alias=True),
    }

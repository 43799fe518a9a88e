"""A Ledger that was lost is made anew only because a person asked, from the grants that are stored. Called by meta_cluster, never by an operator.

The first one, empty, is made by the installation (meta_cluster/bootstrap/install.py). An empty one in place of a lost one would give every
slot away a second time.
"""

from __future__ import annotations

from operators.api.base import API_VERSION
from operators.api.risk import LedgerSpec, OperationGrant
from operators.domain.risk.retention import rebuilt_ledger
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, KubePort, Manifest
from operators.services.ledger import SYSTEM_NAMESPACE, ledger_ref, read_ledger

GRANTS = Kind(API_VERSION, "OperationGrant")


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

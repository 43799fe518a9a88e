"""LeasePort over a coordination.k8s.io Lease: what kubectl shows as HOLDER, plus our epoch in an annotation of the same object.

One object, so holder and epoch move in the same compare-and-swap. Built by the entry points, used by `operators.engine.elector`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from operators.errors import ErrorCode, KokError
from operators.ports.kube import KubePort, Manifest, Ref
from operators.ports.lease import LeaseRecord

EPOCH = "kok.dev/epoch"


class KubeLease:
    """One named Lease."""

    def __init__(self, kube: KubePort, *, namespace: str, name: str, deadline: float = 5.0) -> None:
        self._kube, self._deadline = kube, deadline
        self._ref = Ref("coordination.k8s.io/v1", "Lease", namespace, name)

    async def read(self) -> LeaseRecord | None:
        """See LeasePort."""
        lease = await self._kube.get(self._ref, deadline=self._deadline)
        return record_of(lease) if lease else None

    async def create(self, record: LeaseRecord) -> LeaseRecord:
        """See LeasePort."""
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        manifest = {"apiVersion": self._ref.api_version, "kind": self._ref.kind, "metadata": metadata}
        fields = fields_of(record)
        manifest["metadata"] = {**metadata, **fields["metadata"]}
        return record_of(await self._kube.create({**manifest, "spec": fields["spec"]}, deadline=self._deadline))

    async def replace(self, record: LeaseRecord) -> LeaseRecord:
        """See LeasePort."""
        if not record.version:
            raise KokError(ErrorCode.Internal, "a lease record without a version cannot be compared")
        fields = fields_of(record)
        return record_of(await self._kube.patch_json(self._ref, fields, resource_version=record.version, deadline=self._deadline))


def fields_of(record: LeaseRecord) -> Manifest:
    """A merge patch that makes the Lease say what the record says."""
    return {
        "metadata": {"annotations": {EPOCH: str(record.epoch)}},
        "spec": {
            "holderIdentity": record.holder,
            "acquireTime": _stamp(record.acquired),
            "renewTime": _stamp(record.renewed),
            "leaseDurationSeconds": record.duration_seconds,
            "leaseTransitions": record.transitions,
        },
    }


def record_of(lease: Manifest) -> LeaseRecord:
    """What a Lease says; one made by hand may lack anything."""
    spec, metadata = lease.get("spec") or {}, lease["metadata"]
    epoch = (metadata.get("annotations") or {}).get(EPOCH) or "0"
    if not epoch.isdigit():
        raise KokError(
            ErrorCode.InvalidObject, f"Lease {metadata['name']}: annotation {EPOCH} is {epoch!r}, not a number", "delete the Lease"
        )
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        acquired=_time(spec.get("acquireTime")),
        renewed=_time(spec.get("renewTime")),
        duration_seconds=spec.get("leaseDurationSeconds") or 15,
        transitions=spec.get("leaseTransitions") or 0,
        epoch=int(epoch),
        version=metadata["resourceVersion"],
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _time(stamp: str | None) -> datetime:
    return datetime.fromisoformat(stamp) if stamp else datetime.fromtimestamp(0, UTC)

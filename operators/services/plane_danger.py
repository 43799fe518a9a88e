"""The dangerous verbs on a plane's masters: each takes a Grant and re-reads it right before its one write. Without one it does not type-check.

Taking a member out of an etcd is the etcd port's (ports/etcd.py). Any error on the way, also a grant that cannot be read, ends the verb
before anything is written; what was not written stays for the next pass. Called by cluster_operator.cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.api.base import API_VERSION
from operators.api.cluster_release import ClusterRelease, ClusterReleaseSpec
from operators.api.risk import Operation
from operators.domain.plane.release import release_manifest
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, GrantsPort
from operators.ports.kube import Kind, KubePort, Manifest, Preconditions, Ref
from operators.services.apply import apply_whole

OF_ONE = frozenset({Operation.RestartMaster, Operation.RemoveEtcdMember})
"""Leave for the very pod or Deployment that it names."""
OF_PLANE = frozenset({Operation.UpgradePlane})
"""Leave for every master of the Cluster that it names."""


RELEASE = Kind(API_VERSION, "ClusterRelease")


async def write_spec(kube: KubePort, release: ClusterRelease, spec: ClusterReleaseSpec) -> Manifest:
    """By compare-and-swap on the release that was seen. What moves masters goes through `PlaneDanger.move`."""
    metadata = release.metadata
    ref = RELEASE.ref(metadata.name, metadata.namespace or "")
    return await kube.patch_json(ref, {"spec": release_manifest(spec)}, resource_version=metadata.resource_version)


@dataclass(frozen=True, slots=True)
class PlaneDanger:
    """Acts on masters that serve somebody, and on what holds their data. `kube` is the meta cluster."""

    kube: KubePort
    grants: GrantsPort

    async def roll(self, manifest: Manifest, cluster: str, grant: Grant) -> Manifest:
        """Apply a Deployment of a living plane whose pods are exchanged by it; as it was stored. Raises KokError GrantInvalid."""
        await self._verify(grant, str(manifest["metadata"]["name"]), cluster)
        return await apply_whole(self.kube, manifest)

    async def move(self, release: ClusterRelease, spec: ClusterReleaseSpec, grant: Grant) -> Manifest:
        """Write the next stage of a hop, from which every master of the plane is rolled; as it was stored. Raises KokError GrantInvalid, Conflict."""
        await self.grants.verify(grant, operation=Operation.UpgradePlane, target=release.metadata.name)
        return await write_spec(self.kube, release, spec)

    async def end_pod(self, ref: Ref, uid: str, cluster: str, grant: Grant, *, force: bool = False) -> None:
        """Delete the very pod that was seen, not its successor. `force`: no kubelet is left that would confirm its end. Absent is success."""
        await self._verify(grant, ref.name, cluster)
        await self.kube.delete(ref, preconditions=Preconditions(uid=uid, grace_seconds=0 if force else None))

    async def end_part(self, part: Manifest, cluster: str, grant: Grant) -> None:
        """Delete the very master or volume that was seen of a plane that ends. Absent is success."""
        await self.grants.verify(grant, operation=Operation.DeletePlane, target=cluster)
        await self.kube.delete(Ref.of(part), preconditions=Preconditions(uid=part["metadata"]["uid"]))

    async def _verify(self, grant: Grant, target: str, cluster: str) -> None:
        if grant.operation not in OF_ONE | OF_PLANE:
            allowed = ", ".join(sorted(OF_ONE | OF_PLANE))
            words = f"grant {grant.op_id} is for {grant.operation}, this needs one of {allowed}"
            raise KokError(ErrorCode.GrantInvalid, words, "nothing was done")
        await self.grants.verify(grant, operation=grant.operation, target=cluster if grant.operation in OF_PLANE else target)

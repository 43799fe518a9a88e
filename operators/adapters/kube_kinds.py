"""Where a kind lives in the API: its plural and its scope. Kubernetes' own kinds from a table, everything else from discovery, cached.

Asked by `operators.adapters.kube` for each request's path.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from operators.ports.kube import Kind, NotFound, Ref, Subresource

REDISCOVER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind's plural name in paths, and whether its objects live in namespaces."""

    plural: str
    namespaced: bool = True


def _table(api_version: str, namespaced: str, cluster_scoped: str = "") -> dict[Kind, Resource]:
    """Kinds of one version, as words `Kind` or `Kind=plural`; the plural is the lower-case kind plus `s` unless said."""
    table = {}
    for words, is_namespaced in ((namespaced, True), (cluster_scoped, False)):
        for word in words.split():
            kind, _, plural = word.partition("=")
            table[Kind(api_version, kind)] = Resource(plural or f"{kind.lower()}s", is_namespaced)
    return table


KNOWN: dict[Kind, Resource] = {
    **_table(
        "v1",
        "ConfigMap Endpoints=endpoints Event LimitRange PersistentVolumeClaim Pod ReplicationController ResourceQuota Secret Service"
        " ServiceAccount",
        "Namespace Node PersistentVolume",
    ),
    **_table("apps/v1", "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet"),
    **_table("batch/v1", "CronJob Job"),
    **_table("coordination.k8s.io/v1", "Lease"),
    **_table("discovery.k8s.io/v1", "EndpointSlice"),
    **_table("events.k8s.io/v1", "Event"),
    **_table("policy/v1", "PodDisruptionBudget"),
    **_table("networking.k8s.io/v1", "Ingress=ingresses NetworkPolicy=networkpolicies", "IngressClass=ingressclasses"),
    **_table("rbac.authorization.k8s.io/v1", "Role RoleBinding", "ClusterRole ClusterRoleBinding"),
    **_table("storage.k8s.io/v1", "", "StorageClass=storageclasses CSIDriver CSINode VolumeAttachment"),
    **_table("scheduling.k8s.io/v1", "", "PriorityClass=priorityclasses"),
    **_table("certificates.k8s.io/v1", "", "CertificateSigningRequest"),
    **_table("apiextensions.k8s.io/v1", "", "CustomResourceDefinition"),
    **_table("apiregistration.k8s.io/v1", "", "APIService"),
    **_table("authentication.k8s.io/v1", "", "TokenReview SelfSubjectReview"),
    **_table("authorization.k8s.io/v1", "LocalSubjectAccessReview", "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview"),
    **_table(
        "admissionregistration.k8s.io/v1",
        "",
        "ValidatingAdmissionPolicy=validatingadmissionpolicies ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration"
        " MutatingWebhookConfiguration",
    ),
}


class Kinds:
    """The table plus what discovery said of this server; a kind it does not know is asked for again, but not more often than every 3 s."""

    def __init__(self, fetch: Callable[[str], Awaitable[bytes]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._found: dict[Kind, Resource] = {}
        self._asked: dict[str, float] = {}

    async def resource(self, kind: Kind) -> Resource:
        """Its plural and scope. Raises NotFound if this server does not serve the kind at that version."""
        known = KNOWN.get(kind) or self._found.get(kind)
        if known is None:
            await self._discover(kind.api_version)
            known = self._found.get(kind)
        if known is None:
            raise NotFound(f"the server has no kind {kind.kind} in {kind.api_version}", hint="is its CRD installed?", status=404)
        return known

    async def _discover(self, api_version: str) -> None:
        asked = self._asked.get(api_version)
        if asked is not None and self._clock() - asked < REDISCOVER_SECONDS:
            return
        try:
            body = await self._fetch(root_of(api_version))
        except NotFound:
            body = b"{}"
        self._asked[api_version] = self._clock()
        for item in json.loads(body).get("resources") or ():
            if "/" not in item["name"]:
                self._found[Kind(api_version, item["kind"])] = Resource(item["name"], bool(item["namespaced"]))

    async def collection_path(self, kind: Kind, namespace: str) -> str:
        """Where lists are read and objects are created; a namespace is ignored for a cluster-scoped kind."""
        resource = await self.resource(kind)
        space = f"/namespaces/{namespace}" if namespace and resource.namespaced else ""
        return f"{root_of(kind.api_version)}{space}/{resource.plural}"

    async def object_path(self, ref: Ref, subresource: Subresource | None = None) -> str:
        """Where one object is."""
        tail = f"/{subresource}" if subresource else ""
        return f"{await self.collection_path(ref.type, ref.namespace)}/{ref.name}{tail}"


def root_of(api_version: str) -> str:
    """`/api/v1` for the core group, `/apis/<group>/<version>` otherwise."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"

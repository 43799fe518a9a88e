"""Kinds that are watched, and whom their changes wake. Pure but for looking into the cache; called by main and by tests.

Keys: `pool:<namespace>/<pool>` and `machine:<host>` (a host's name is unique in its cluster). What concerns everybody also wakes NOBODY,
a key without an object, so that the cache keeps it before there is a pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from operators.api.base import API_VERSION, LABEL_MACHINE
from operators.domain.machine.certificates import SIGNERS, request_of
from operators.domain.machine.reporting_rules import RULE_NAMES
from operators.domain.machine.reports import CONDITIONS_NAMESPACE
from operators.engine.cache import ObjectCache
from operators.ports.kube import Key, Kind, Manifest, Watched

POOL, MACHINE = "pool", "machine"
NOBODY = Key(POOL, "", "")

CLUSTER = Kind(API_VERSION, "Cluster")
CLUSTER_RELEASE = Kind(API_VERSION, "ClusterRelease")
CPV = Kind(API_VERSION, "ClusterPackageVersion")
MPV = Kind(API_VERSION, "MachinePackageVersion")
MACHINE_POOL = Kind(API_VERSION, "MachinePool")
POOL_RELEASE = Kind(API_VERSION, "MachinePoolRelease")
HOST_CLAIM = Kind(API_VERSION, "HostClaim")
GRANT = Kind(API_VERSION, "OperationGrant")
MACHINE_KIND = Kind(API_VERSION, "Machine")
NODE = Kind("v1", "Node")
CSR = Kind("certificates.k8s.io/v1", "CertificateSigningRequest")
CONFIG_MAP = Kind("v1", "ConfigMap")
LEASE = Kind("coordination.k8s.io/v1", "Lease")
SECRET = Kind("v1", "Secret")
POLICY = Kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
POLICY_BINDING = Kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding")

BUSINESS = "business"


def pool_key(namespace: str, name: str) -> Key:
    """The key of a pool."""
    return Key(POOL, namespace, name)


def machine_key(host: str) -> Key:
    """The key of a machine."""
    return Key(MACHINE, "", host)


def everybody(cache: ObjectCache, namespace: str) -> list[Key]:
    """Every pool and machine that is known, and NOBODY."""
    pools = cache.list(MACHINE_POOL, namespace=namespace)
    keys = {NOBODY, *(key for pool in pools for key in _of_pool(pool))}
    return [*keys, *(machine_key(machine["metadata"]["name"]) for machine in cache.list(MACHINE_KIND, server=BUSINESS))]


def _of_pool(pool: Manifest) -> set[Key]:
    """A pool and the hosts it lists."""
    metadata = pool["metadata"]
    hosts = (pool.get("spec") or {}).get("hosts") or ()
    return {pool_key(metadata["namespace"], metadata["name"]), *(machine_key(host["name"]) for host in hosts)}


def _release_keys(release: Manifest) -> list[Key]:
    metadata = release["metadata"]
    hosts = (release.get("spec") or {}).get("hosts") or ()
    return [pool_key(metadata["namespace"], metadata["name"]), *(machine_key(host["name"]) for host in hosts)]


def _claim_keys(cache: ObjectCache, namespace: str) -> Callable[[Manifest], Iterable[Key]]:
    def keys_of(claim: Manifest) -> Iterable[Key]:
        spec = claim["spec"]
        if spec["namespace"] == namespace:
            return [pool_key(namespace, spec["pool"]), machine_key(spec["host"])]
        place = (spec["address"], spec["port"])
        pools = cache.list(MACHINE_POOL, namespace=namespace)
        named = [(pool, host) for pool in pools for host in pool["spec"].get("hosts") or () if _place(host) == place]
        return [key for pool, host in named for key in (machine_key(host["name"]), pool_key(namespace, pool["metadata"]["name"]))]

    return keys_of


def _place(host: Manifest) -> tuple[str, int]:
    return (host["address"], host.get("port", 22))


def _grant_keys(requester: str) -> Callable[[Manifest], Iterable[Key]]:
    def keys_of(grant: Manifest) -> Iterable[Key]:
        spec = grant["spec"]
        return [machine_key(spec["target"]["name"])] if spec["requester"] == requester else []

    return keys_of


def meta_kinds(cache: Callable[[], ObjectCache], namespace: str, requester: str) -> tuple[Watched, ...]:
    """What is watched on the meta cluster. `cache` is asked when an event comes: it is made after this."""

    def all_keys(_: Manifest) -> Iterable[Key]:
        return everybody(cache(), namespace)

    def pool_keys(pool: Manifest) -> Iterable[Key]:
        """One pool's hosts may collide with another's: every pool looks again. Hosts that it once had are still concerned."""
        others = cache().list(MACHINE_POOL, namespace=namespace)
        claims = [claim["spec"] for claim in cache().list(HOST_CLAIM)]
        had = {machine_key(spec["host"]) for spec in claims if (spec["namespace"], spec["pool"]) == (namespace, pool["metadata"]["name"])}
        return _of_pool(pool) | had | {pool_key(namespace, other["metadata"]["name"]) for other in others}

    def claim_keys(claim: Manifest) -> Iterable[Key]:
        return _claim_keys(cache(), namespace)(claim)

    return (
        Watched(CLUSTER, all_keys, namespace=namespace),
        Watched(CLUSTER_RELEASE, all_keys, namespace=namespace),
        Watched(CPV, all_keys),
        Watched(MPV, all_keys),
        Watched(MACHINE_POOL, pool_keys, namespace=namespace),
        Watched(POOL_RELEASE, _release_keys, namespace=namespace),
        Watched(HOST_CLAIM, claim_keys),
        Watched(GRANT, _grant_keys(requester), namespace=namespace),
    )


def business_kinds(namespace: str) -> tuple[Watched, ...]:
    """What is watched on the business cluster."""

    def machine_keys(machine: Manifest) -> Iterable[Key]:
        pool = (machine.get("spec") or {}).get("pool", "")
        return [machine_key(machine["metadata"]["name"]), pool_key(namespace, pool)]

    return (
        Watched(MACHINE_KIND, machine_keys, server=BUSINESS),
        Watched(NODE, lambda node: [machine_key(node["metadata"]["name"])], server=BUSINESS),
        Watched(CSR, _request_keys, server=BUSINESS),
        Watched(CONFIG_MAP, _report_keys, namespace=CONDITIONS_NAMESPACE, server=BUSINESS),
        Watched(LEASE, lambda _: [NOBODY], namespace=CONDITIONS_NAMESPACE, server=BUSINESS),
        Watched(POLICY, _rule_keys, server=BUSINESS),
        Watched(POLICY_BINDING, _rule_keys, server=BUSINESS),
    )


def _request_keys(request: Manifest) -> Iterable[Key]:
    if request["spec"].get("signerName") not in SIGNERS:
        return []
    return [machine_key(name) for name in sorted(request_of(request).machines)]


def _rule_keys(rule: Manifest) -> Iterable[Key]:
    """Only those that bind reports to their writers are kept; whoever waits for them looks again by itself."""
    return [NOBODY] if rule["metadata"]["name"] in RULE_NAMES else []


def _report_keys(report: Manifest) -> Iterable[Key]:
    machine = (report["metadata"].get("labels") or {}).get(LABEL_MACHINE)
    return [machine_key(machine)] if machine else []

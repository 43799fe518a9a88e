"""What a MachinePool is to a rollout of a machine package: a candidate, a member with facts, an order. Pure.

The rollout gives an order per pool (MachinePoolRelease.spec.orders); the pool's Machine-Operator takes its hosts there batch by batch, under the
pool's limits and the order's, and stops at the first that fails. Called by cluster_operator.rollout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from operators.api.cluster import Cluster
from operators.api.cluster_release import AuthorisedBy, ClusterRelease
from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pools import MachinePool, MachinePoolRelease, PoolOrder
from operators.domain.machine.effects import EffectRules, changes_between, refusal_of, worst
from operators.domain.machine.orders import in_force, with_orders
from operators.domain.machine.wish import wished_packages
from operators.domain.plane.paths import version_of, words_of
from operators.domain.risk.identity import at
from operators.domain.rollout.forecast import KUBELET, MEANINGS, OPERATION_OF, Catalogue, Forecast
from operators.domain.rollout.plan import Candidate, FrozenPlan, PlannedMember
from operators.domain.rollout.view import Hold, MemberFacts, Self
from operators.errors import ErrorCode, KokError

STOPPED = ErrorCode.UpdateStopped
"""Reason of a pool's Stalled condition when a host failed and the others wait."""


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """One pool with what decides what its hosts get. `cluster`: namespace/name of its Cluster."""

    pool: MachinePool
    release: MachinePoolRelease | None
    cluster: str
    plane: ClusterRelease | None
    owner: Cluster | None

    @property
    def key(self) -> str:
        """namespace/name."""
        return f"{self.pool.metadata.namespace}/{self.pool.metadata.name}"


@dataclass(frozen=True, slots=True)
class Wished:
    """A pool's wish of one component, and what is ordered in its place. `packages`: all that the hosts shall have."""

    wish: str = ""
    order: PoolOrder | None = None
    packages: tuple[str, ...] = ()
    problem: str = ""

    @property
    def version(self) -> str:
        """What the hosts are authorised for, of that component."""
        return self.order.package if self.order else self.wish


def wished_of(seen: PoolSeen, component: str, catalogue: Catalogue) -> Wished:
    """The same sum that its Machine-Operator does; a problem while anything that it is made of is missing, and then it says nothing."""
    if not component:
        return Wished(
            problem="the MachinePackageVersion that the rollout is about is not in the meta cluster, so its component is not known"
        )
    try:
        wished = wished_packages(seen.pool, _cluster_packages(seen, catalogue), catalogue.machines)
    except KokError as error:
        return Wished(problem=error.message)
    orders = in_force(seen.release.spec.orders if seen.release else (), wished, catalogue.machines)
    own = next((name for name in wished if catalogue.machines[name].spec.component == component), "")
    order = next((each for each in orders if each.component == component), None)
    return Wished(own, order, with_orders(wished, orders, catalogue.machines))


def shall_have(seen: PoolSeen, catalogue: Catalogue) -> tuple[str, ...]:
    """Packages that the pool's hosts shall have, by wish and orders: the same sum. Raises KokError while anything that it is made of is missing."""
    wished = wished_packages(seen.pool, _cluster_packages(seen, catalogue), catalogue.machines)
    orders = in_force(seen.release.spec.orders if seen.release else (), wished, catalogue.machines)
    return with_orders(wished, orders, catalogue.machines)


def _cluster_packages(seen: PoolSeen, catalogue: Catalogue) -> tuple[str, ...]:
    if seen.pool.spec.packages.explicit is not None:
        return ()
    package = catalogue.planes.get(seen.plane.spec.machines_package) if seen.plane else None
    if package is None:
        words = f"ClusterPackageVersion {seen.plane.spec.machines_package} is" if seen.plane else f"the ClusterRelease of {seen.cluster} is"
        raise KokError(ErrorCode.PackageMissing, f"{words} not in the meta cluster, so what its hosts shall have is not known")
    return brought_by(package, seen.owner)


def brought_by(package: ClusterPackageVersion, owner: Cluster | None) -> tuple[str, ...]:
    """Machine packages that a version brings to the hosts of a Cluster."""
    several = owner is not None and bool(owner.spec.endpoint.additional_hosts)
    proxy = package.spec.api_proxy_package
    return (*package.spec.machine_packages, proxy) if several and proxy else package.spec.machine_packages


def candidate_of(seen: PoolSeen, component: str, catalogue: Catalogue) -> Candidate:
    """A pool as a plan sees it."""
    wished = wished_of(seen, component, catalogue)
    trouble = wished.problem or _never(seen, wished, component) or trouble_of(seen, wished)[0]
    return Candidate(seen.key, wished.version, seen.pool.metadata.labels, trouble, seen.cluster)


def _never(seen: PoolSeen, wished: Wished, component: str) -> str:
    """Why a rollout has no business here."""
    if not wished.wish:
        return f"it has no package of component {component}"
    if seen.pool.spec.update.paused:
        return "its update.paused is set"
    if seen.pool.spec.update.partition:
        return "its update.partition holds hosts back"
    return "" if seen.pool.spec.hosts else "it has no hosts"


def trouble_of(seen: PoolSeen, wished: Wished) -> tuple[str, datetime | None]:
    """Why its hosts are not all in service with what they shall have, empty when they are; and since when it is so.

    That they came into service is a journal (`openedAt`); whether they are now, the pool's own condition says.
    """
    pool, status = seen.pool, seen.pool.status
    if pool.deleting:
        return "it is being deleted", None
    released = {host.name: host for host in (seen.release.spec.hosts if seen.release else ())}
    for host in pool.spec.hosts:
        entry = released.get(host.name)
        if entry is None or set(entry.packages) != set(wished.packages) or entry.opened_at is None:
            words = status.message if status and status.message else f"host {host.name} was not in service with these packages yet"
            return words, None
    ready = next((each for each in status.conditions if each.type == "Ready"), None) if status else None
    if status is None or ready is None or status.observed_generation < pool.metadata.generation:
        return "its operator has not looked at it yet", None
    since = at(ready.last_transition_time)
    if ready.status.value != "True":
        return ready.message or ready.reason, since
    return "", max([since, *(at(released[host.name].opened_at or "") for host in pool.spec.hosts)])


def facts_of(own: Self, seen: PoolSeen, component: str, catalogue: Catalogue, running: Collection[str]) -> MemberFacts:
    """One member now. `own`: this rollout; `running`: the others that have not ended."""
    wished = wished_of(seen, component, catalogue)
    written = _order_of(own, seen, component)
    if written and not wished.problem and written.instead_of == wished.wish and written.package not in catalogue.machines:
        wished = Wished(wished.wish, problem=f"MachinePackageVersion {written.package}, which was ordered, is not in the meta cluster")
    trouble, since = (wished.problem, None) if wished.problem else trouble_of(seen, wished)
    order = written if wished.problem else wished.order
    began = at(order.at) if order else at("2000-01-01T00:00:00Z")
    is_own = order is not None and own.wrote(order.rollout, order.rollout_uid)
    rival = order.rollout if order and not is_own and order.rollout in running else ""
    return MemberFacts(
        Hold.Rival if rival else _hold(own, order),
        order.package if order else wished.wish,
        began,
        not trouble,
        trouble,
        since if trouble else None,
        None if trouble else since,
        rival,
        gave_up=_stalled(seen.pool, STOPPED) if trouble else "",
        blind=_stalled(seen.pool, ErrorCode.ManyUnreachable) if trouble else "",
    )


def _order_of(own: Self, seen: PoolSeen, component: str) -> PoolOrder | None:
    """The order that is written there, whether it is in force or not: missing data takes nothing back."""
    orders = seen.release.spec.orders if seen.release else ()
    of_it = [each for each in orders if each.component == component or (not component and own.wrote(each.rollout, each.rollout_uid))]
    return of_it[0] if of_it else None


def _hold(own: Self, order: PoolOrder | None) -> Hold:
    if order is None or not own.wrote(order.rollout, order.rollout_uid):
        return Hold.Free
    return Hold.Forward if order.by is AuthorisedBy.Rollout else Hold.Back


def _stalled(pool: MachinePool, code: ErrorCode) -> str:
    """The pool's own words when it is stalled for that: a host failed and no other will be tried, or it cannot see its hosts."""
    found = next((each for each in pool.status.conditions if each.type == "Stalled"), None) if pool.status else None
    return found.message if found and found.status.value == "True" and found.reason == code.value else ""


def rollouts_of(pools: Iterable[PoolSeen], component: str) -> frozenset[str]:
    """Names of the rollouts that gave these pools an order for that component."""
    found = (order for seen in pools if seen.release for order in seen.release.spec.orders)
    return frozenset(order.rollout for order in found if order.component == component)


def with_order(release: MachinePoolRelease, order: PoolOrder) -> tuple[PoolOrder, ...]:
    """The orders with this one in the place of the last one for its component."""
    others = [each for each in release.spec.orders if each.component != order.component]
    return tuple(sorted((*others, order), key=lambda each: each.component))


def forecasts(plan: FrozenPlan, pools: Mapping[str, PoolSeen], package: MachinePackageVersion, catalogue: Catalogue) -> dict[str, Forecast]:
    """What each member would see, and whether it would be refused."""
    return {member.key: forecast(pools[member.key], package, catalogue) for member in plan.members if member.key in pools}


def can_go(members: Iterable[PlannedMember], to: str, pools: Mapping[str, PoolSeen], catalogue: Catalogue) -> tuple[PlannedMember, ...]:
    """Of pools that came later those that would not be refused; none while the package is not there."""
    package = catalogue.machines.get(to)
    if package is None:
        return ()
    return tuple(each for each in members if each.key in pools and not forecast(pools[each.key], package, catalogue).refused)


def forecast(seen: PoolSeen, package: MachinePackageVersion, catalogue: Catalogue) -> Forecast:
    """One pool: what changes on its machines, what that does to pods, and the leave that it takes."""
    wished, update, to = wished_of(seen, package.spec.component, catalogue), seen.pool.spec.update, package.metadata.name
    after = [to if name == wished.version else name for name in wished.packages]
    changes = changes_between(wished.packages, after, catalogue.machines, EffectRules(update.kubelet_minor))
    hosts, effect = len(seen.pool.spec.hosts), worst(change.effect for change in changes)
    words = f"{hosts} machine{'' if hosts == 1 else 's'}: {wished.version} -> {to} ({MEANINGS[effect]})"
    refused = refusal_of(changes, update.max_effect) or _too_new(seen, package, catalogue)
    needs = {OPERATION_OF[effect]: hosts} if changes and effect in OPERATION_OF else {}
    return Forecast(words, refused, needs, hosts)


def _too_new(seen: PoolSeen, package: MachinePackageVersion, catalogue: Catalogue) -> str:
    """A kubelet is never newer than its API server."""
    plane = catalogue.planes.get(seen.plane.spec.plane_package) if seen.plane else None
    if package.spec.component != KUBELET or plane is None:
        return ""
    kubelet, server = version_of(package.spec.version), version_of(plane.spec.kubernetes_version)
    if kubelet[:2] <= server[:2]:
        return ""
    return f"kubelet {words_of(kubelet)} would be newer than its API server {words_of(server)}; upgrade the cluster first"

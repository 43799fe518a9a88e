"""Reads one machine: wish and claims from the meta cluster's cache, what the business cluster shows, the host itself over SSH. Changes nothing.

What cannot be read is part of the view. The host is looked at only under a claim of ours, and only when the last look is too old.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace

from operators.api.hosts import Host, HostClaim
from operators.api.machines import Machine
from operators.api.packages import MachinePackageVersion
from operators.api.pending import Effect
from operators.domain.machine.certificates import request_of
from operators.domain.machine.effects import EffectRules, changes_between, is_at_least
from operators.domain.machine.host import DesiredPackage
from operators.domain.machine.node import node_of
from operators.domain.machine.orders import in_force, with_orders
from operators.domain.machine.our_side import REFERENCES, Sight
from operators.domain.machine.pool_ladder import problem_of
from operators.domain.machine.render import HostFacts, NodeFacts, desired_package
from operators.domain.machine.staging import packages_ahead
from operators.domain.machine.status import TRANSIENT
from operators.domain.machine.view import (
    ABANDON,
    FORCE_DRAIN,
    Ahead,
    Business,
    MachineView,
    Ownership,
    PackageAhead,
    Probe,
    Token,
    Wish,
    is_named,
)
from operators.domain.machine.wish import wished_packages
from operators.errors import ErrorCode, KokError
from operators.machine_operator import kinds
from operators.machine_operator.gatekeeping import Gatekeeper
from operators.machine_operator.machine.access import RecentKeys
from operators.machine_operator.meta import Meta
from operators.machine_operator.pool.observe import PoolObserver
from operators.machine_operator.probes import Question
from operators.machine_operator.tokens import read_token, token_ref
from operators.machine_operator.world import World
from operators.ports.kube import Key

PROBE_UNSETTLED = 10.0
"""Seconds between two looks at a host that is not open yet."""


class Observer:
    """Builds views."""

    def __init__(self, world: World, meta: Meta, gatekeeper: Gatekeeper) -> None:
        self._world, self._meta, self._gatekeeper, self._pools = world, meta, gatekeeper, PoolObserver(world, meta)
        self._keys, self._tokenless = RecentKeys(world), set[str]()

    async def observe(self, key: Key) -> MachineView | None:
        """The view of a host; None when nothing anywhere speaks of it."""
        view = self._from_caches(key.name)
        if view is None:
            self.forget(key.name)
            return None
        view = self._with_plan(self._with_desired(view))
        view = await self._with_sight(await self._with_probe(view))
        view = self._with_ahead(self._with_rules(view))
        business = replace(view.business, token=await self._token(view), pods=None, mates=self._gatekeeper.mates(view))
        return await self._with_pods(replace(view, business=business))

    def forget(self, host: str) -> None:
        """Nothing is left of it."""
        self._tokenless.discard(host)
        self._world.hands.probes.forget(host)
        self._world.hands.jobs.forget(host)
        self._world.hands.stagings.forget(host)
        self._world.board.forget(host)

    def expect_token(self, host: str) -> None:
        """A token was issued: look for it again."""
        self._tokenless.discard(host)

    def _from_caches(self, name: str) -> MachineView | None:
        wish, business, grants = self._wish(name), self._business(name), self._meta.grants(name)
        owned = self._owned(name, wish)
        if wish.host is None and owned.mine is None and business.machine is None and not grants:
            return None
        if owned.mine:
            abandoned = wish.abandoned or is_named(owned.mine.metadata.annotations, ABANDON, name)
            wish = replace(wish, abandoned=abandoned, problem=wish.problem or self._problem_of_pool(wish, owned.mine))
        state, job = self._meta.cluster_state(), self._world.hands.jobs.state(name)
        now, times = self._world.now(), self._world.times
        return MachineView(now, name, state, wish, owned, business=business, job=job, grants=grants, times=times)

    def _wish(self, name: str) -> Wish:
        pools = self._meta.pools()
        listing = [pool for pool in pools.items if any(host.name == name for host in pool.spec.hosts)]
        own = sorted(listing, key=lambda pool: (pool.deleting, pool.metadata.creation_timestamp or "", pool.metadata.name))
        annotations = [pool.metadata.annotations for pool in pools.items]
        abandoned, forced = (any(is_named(each, annotation, name) for each in annotations) for annotation in (ABANDON, FORCE_DRAIN))
        if not own:
            return Wish(problem=pools.problem, abandoned=abandoned, force_drain=forced)
        pool = own[0]
        host = next(host for host in pool.spec.hosts if host.name == name)
        entry, problem = None, pools.problem
        try:
            entry = next((entry for entry in self._meta.released(pool) if entry.name == name), None)
        except KokError as error:
            problem = error.message
        packages, going_back = (entry.packages, entry.going_back) if entry else (None, False)
        return Wish(pool, host, packages, problem, abandoned, forced, going_back)

    def _problem_of_pool(self, wish: Wish, claim: HostClaim) -> str:
        """Why the pool that a host left cannot be trusted now: while it is wrong, nothing is taken away either."""
        if wish.host is not None:
            return ""
        left = [pool for pool in self._meta.pools().items if pool.metadata.uid == claim.spec.pool_uid and not pool.deleting]
        problem = problem_of(self._pools.view_of(left[0])) if left else None
        return problem.message if problem else ""

    def _owned(self, name: str, wish: Wish) -> Ownership:
        """A claim that no longer fits the wish comes first: it is given back before another is taken."""
        namespace, host = self._world.identity.namespace, wish.host
        claims = self._meta.claims()
        mine = [claim for claim in claims if (claim.spec.namespace, claim.spec.host) == (namespace, name)]
        place = (host.address, host.port) if host else None
        mine.sort(key=lambda claim: ((claim.spec.address, claim.spec.port) == place, claim.metadata.name))
        others = [claim for claim in claims if (claim.spec.address, claim.spec.port) == place and claim not in mine]
        return Ownership(mine[0] if mine else None, others[0] if others else None)

    def _business(self, name: str) -> Business:
        cache = self._world.cache
        node = cache.get(kinds.NODE.ref(name), server=kinds.BUSINESS)
        requests = cache.read_all(kinds.CSR, request_of, server=kinds.BUSINESS)
        return Business(
            cache.read(kinds.MACHINE_KIND.ref(name), Machine.parse, server=kinds.BUSINESS),
            node_of(node) if node else None,
            requests=tuple(request for request in requests if name in request.machines),
            reports=self._gatekeeper.reports(name),
            unprotected=self._gatekeeper.unprotected(),
        )

    def _with_desired(self, view: MachineView) -> MachineView:
        """Packages filled in: those authorised, or for a host that leaves all it ever got."""
        claim = view.owned.mine
        names = (claim.spec.packages if claim else ()) if view.is_leaving else (view.wish.packages or ())
        host = claim.spec.connection if view.is_leaving and claim else view.wish.host
        if not names or host is None:
            return view
        try:
            return replace(view, desired=self._desired(names, host, leaving=view.is_leaving))
        except KokError as error:
            return replace(view, desired_problem=error)

    def _with_plan(self, view: MachineView) -> MachineView:
        """What the pool wishes beyond what is authorised, for those who look; a pool that cannot be wished plans nothing."""
        pool = view.wish.pool
        if pool is None or view.wish.packages is None or view.is_leaving:
            return view
        rules = EffectRules(pool.spec.update.kubelet_minor)
        catalogue = self._meta.catalogue()
        try:
            wished = wished_packages(pool, self._meta.cluster_packages() or (), catalogue)
            wished = with_orders(wished, in_force(self._meta.orders(pool), wished, catalogue), catalogue)
        except KokError:
            return replace(view, rules=rules)
        return replace(view, rules=rules, planned=changes_between(view.wish.packages, wished, catalogue, rules))

    def _with_ahead(self, view: MachineView) -> MachineView:
        """What rollouts want staged, and what stays because the host is, or will be, made of it."""
        pool, last = view.wish.pool, self._world.hands.stagings.state(view.name)
        if pool is None or view.is_leaving or view.wish.problem:
            return replace(view, ahead=Ahead(job=last))
        wanted = packages_ahead(self._meta.staging(pool), view.now)
        if not wanted and not (view.report and view.report.staged):
            return replace(view, ahead=Ahead(job=last, is_known=True))
        known = {name: package for name in wanted if (package := self._known(name))}
        coming = [package for change in view.planned if (package := self._known(change.after))]
        kept = [*(a for p in (*known.values(), *coming) for a in p.spec.artifacts), *(a for p in view.desired for a in p.artifacts)]
        packages = tuple(PackageAhead(name, each.spec.component, each.spec.artifacts) for name, each in known.items())
        unknown = tuple(name for name in wanted if name not in known)
        return replace(view, ahead=Ahead(packages, unknown, frozenset(artifact.sha256 for artifact in kept), last, is_known=True))

    def _known(self, name: str) -> MachinePackageVersion | None:
        try:
            return self._meta.package(name) if name else None
        except KokError:
            return None

    def _with_rules(self, view: MachineView) -> MachineView:
        """What removing does, of each component that the host has and nobody wants; a package that nobody knows any more stays unknown."""
        wanted = {package.component for package in view.desired}
        left = [found.name for component, found in view.report.packages.items() if component not in wanted] if view.report else []
        removals: dict[str, Effect] = {}
        for name in left:
            with contextlib.suppress(KokError):
                removals[name] = self._meta.package(name).spec.effect.removal
        return replace(view, rules=replace(view.rules, removals=removals)) if removals else view

    def _desired(self, names: tuple[str, ...], host: Host, *, leaving: bool) -> tuple[DesiredPackage, ...]:
        cluster = self._meta.cluster()
        if cluster is None:
            raise KokError(ErrorCode.NotFound, "the Cluster is not there")
        facts = HostFacts(NodeFacts(host.name, host.address), self._meta.facts(cluster))
        packages = list(self._filled(names, facts, leaving=leaving))
        if len({package.component for package in packages}) < len(packages) and not leaving:
            message = f"two packages of one component are authorised: {', '.join(names)}"
            raise KokError(ErrorCode.PackageConflict, message, "look at the MachinePoolRelease; nothing is done until it is right")
        return tuple(sorted(packages, key=lambda package: (package.order, package.name)))

    def _filled(self, names: tuple[str, ...], facts: HostFacts, *, leaving: bool) -> Iterator[DesiredPackage]:
        """A host is cleaned by its own records, so a package version that was deleted since is no obstacle to that."""
        for name in names:
            try:
                yield desired_package(self._meta.package(name), facts)
            except KokError:
                if not leaving:
                    raise

    async def _with_probe(self, view: MachineView) -> MachineView:
        claim = view.owned.mine
        if claim is None or view.cluster.problem:
            return view
        if view.job and view.job.is_running:
            return replace(view, probe=self._world.hands.probes.last(view.name))
        try:
            question = await self._question(view, claim)
        except KokError as error:
            return replace(view, probe=self._without_question(view, error))
        probe = await self._world.hands.probes.look(view.name, question, max_age=self._max_age(view))
        return replace(view, probe=probe, now=self._world.now())

    async def _with_sight(self, view: MachineView) -> MachineView:
        """Whether SSH fails to many. Before a host whose node is well is blamed for not answering, some others are asked: is it us?"""
        if view.probe is not None and view.probe.error and view.node is not None and view.node.is_ready:
            others = sorted(name for name, probe in self._world.hands.probes.looked_at().items() if name != view.name and not probe.error)
            await asyncio.gather(*(self._world.hands.probes.again(name, since=view.probe.at) for name in others[:REFERENCES]))
        looked = self._world.hands.probes.looked_at()
        lost = tuple(sorted(name for name, probe in looked.items() if probe.error and self._is_ready(name)))
        return replace(view, sight=Sight(len(looked), lost), now=self._world.now())

    def _is_ready(self, name: str) -> bool:
        node = self._world.cache.get(kinds.NODE.ref(name), server=kinds.BUSINESS)
        facts = node_of(node) if node else None
        return facts is not None and facts.is_ready

    def _without_question(self, view: MachineView, error: KokError) -> Probe | None:
        """How the host is reached could not be read. If it is our API that is busy, the last look still tells of the host, for a while."""
        last = self._world.hands.probes.last(view.name)
        if error.code in TRANSIENT and (last is None or (view.now - last.at).total_seconds() < 2 * view.times.probe):
            return last
        return Probe(view.now, None, error)

    async def _question(self, view: MachineView, claim: HostClaim) -> Question:
        host = view.wish.host if not view.is_leaving and view.wish.host else claim.spec.connection
        cluster = self._meta.cluster()
        if cluster is None:
            raise KokError(ErrorCode.NotFound, "the Cluster is not there")
        target = await self._keys.target(cluster, host)
        node, job, staged = view.node, view.job, self._world.hands.stagings.state(view.name)
        stamp = (
            claim.metadata.uid,
            f"{node.is_ready} {node.boot_id}" if node else "",
            f"{job.since} {job.signature}" if job else "",
            f"{staged.since}" if staged and not staged.is_running else "",
        )
        return Question(target, () if view.is_leaving else view.desired, stamp)

    def _max_age(self, view: MachineView) -> float:
        verdict = self._world.board.verdicts.get(view.name)
        settled = verdict is not None and verdict.is_open
        return view.times.probe * 0.85 if settled else min(PROBE_UNSETTLED, view.times.probe * 0.2)

    async def _token(self, view: MachineView) -> Token | None:
        machine = view.business.machine
        if machine is None or view.name in self._tokenless:
            return None
        found = await self._world.servers.business.get(token_ref(machine.metadata.uid))
        token = read_token(found, view.name) if found else None
        if token is None and view.report and view.report.kubelet_credentials:
            self._tokenless.add(view.name)
        return token.token if token else None

    async def _with_pods(self, view: MachineView) -> MachineView:
        """Only when somebody wants the node empty."""
        hurts = any(is_at_least(difference.effect, Effect.Drain) for difference in view.differences)
        if view.node is None or not (view.drain_workflow or hurts):
            return view
        pods = await self._world.hands.danger.pods_to_move(view.name)
        return replace(view, business=replace(view.business, pods=pods))

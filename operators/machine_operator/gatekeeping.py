"""What gates are judged by, from the caches and, right before a node opens, from the API server itself. Reads only; used by the machine's observe and act.

The wanted form of the admission policies comes with the catalogue, by the plane revision of the released package version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from operators.api.base import LABEL_MACHINE
from operators.domain.machine.gate_ladder import listed_gates
from operators.domain.machine.gates import GateResult
from operators.domain.machine.node import node_of
from operators.domain.machine.reporting_rules import TEMPLATE, Rule, rules_problem, wanted_rules
from operators.domain.machine.reports import CONDITIONS_NAMESPACE, GateReport, gate_report_of, renewals
from operators.domain.machine.view import MachineView, Mates
from operators.errors import KokError
from operators.machine_operator import kinds
from operators.machine_operator.meta import Meta
from operators.machine_operator.world import World
from operators.ports.kube import Manifest

RULE_KINDS = (kinds.POLICY, kinds.POLICY_BINDING)


class Gatekeeper:
    """Reports, renewals, and whether they can be believed."""

    def __init__(self, world: World, meta: Meta) -> None:
        self._world, self._meta = world, meta
        self._wanted: dict[str, tuple[Rule, ...]] = {}
        self.cordoning = asyncio.Lock()

    def reports(self, machine: str) -> tuple[GateReport, ...]:
        """From the cache."""
        cache = self._world.cache
        maps = cache.list(kinds.CONFIG_MAP, namespace=CONDITIONS_NAMESPACE, server=kinds.BUSINESS, labels={LABEL_MACHINE: machine})
        return _reports(maps, cache.list(kinds.LEASE, namespace=CONDITIONS_NAMESPACE, server=kinds.BUSINESS) if maps else ())

    def unprotected(self) -> str:
        """Why no report can be believed, by the cache; empty if they can."""
        cache = self._world.cache
        return self._problem([rule for kind in RULE_KINDS for rule in cache.list(kind, server=kinds.BUSINESS)])

    def _problem(self, found: Iterable[Manifest]) -> str:
        try:
            return rules_problem(self._rules(), found)
        except KokError as error:
            return f"it is not known how reports are bound to their writers ({error.message}): no report is believed"

    def _rules(self) -> tuple[Rule, ...]:
        """Raises KokError: nothing is released, or its plane revision is not in this catalogue."""
        revision = self._meta.plane_revision()
        if revision not in self._wanted:
            templates = self._world.hands.catalogue.plane_templates(revision)
            self._wanted[revision] = wanted_rules(templates.get(TEMPLATE, ""))
        return self._wanted[revision]

    async def closed_by_now(self, view: MachineView) -> GateResult | None:
        """The first listed gate that does not hold by what the API server says at this moment; None if all do. Raises KokError."""
        if not view.gates:
            return None
        business = self._world.servers.business
        maps = await business.list(kinds.CONFIG_MAP, namespace=CONDITIONS_NAMESPACE, selector=f"{LABEL_MACHINE}={view.name}")
        leases = await business.list(kinds.LEASE, namespace=CONDITIONS_NAMESPACE)
        rules = [each for kind in RULE_KINDS for each in (await business.list(kind)).items]
        live = replace(view.business, reports=_reports(maps.items, leases.items), unprotected=self._problem(rules))
        results = listed_gates(replace(view, business=live, now=self._world.now()))
        return next((gate for gate in results if not gate.is_open), None)

    def mates(self, view: MachineView) -> Mates:
        """The other machines of the pool, by the caches; looked at only when a gate of an open node is lost."""
        node = view.node
        if node is None or node.is_closed or all(gate.is_open for gate in listed_gates(view)):
            return Mates()
        names, verdicts = _mates_of(view), self._world.board.verdicts
        asking = sum(1 for name in names if name < view.name and name in verdicts and verdicts[name].asks)
        return Mates(sum(self._takes_pods(name) for name in names), asking)

    def _takes_pods(self, name: str) -> bool:
        return _is_open(self._world.cache.get(kinds.NODE.ref(name), server=kinds.BUSINESS))

    async def is_last_open(self, view: MachineView) -> bool:
        """Whether no other node of the pool takes pods at this moment, by the API server itself. Raises KokError.

        Ask it with `cordoning` held until the cordon is done: several machines of a pool lose a gate at the same moment.
        """
        for name in sorted(_mates_of(view), key=lambda name: not self._takes_pods(name)):
            if _is_open(await self._world.servers.business.get(kinds.NODE.ref(name))):
                return False
        return True


def _mates_of(view: MachineView) -> list[str]:
    return [host.name for host in view.wish.pool.spec.hosts if host.name != view.name] if view.wish.pool else []


def _is_open(node: Manifest | None) -> bool:
    facts = node_of(node) if node else None
    return facts is not None and facts.is_ready and not facts.is_closed and not facts.unschedulable


def _reports(maps: Iterable[Manifest], leases: Iterable[Manifest]) -> tuple[GateReport, ...]:
    renewed = renewals(leases)
    return tuple(gate_report_of(each, renewed) for each in maps)

"""What should exist for a Cluster and which of its keys are unsound: the slow pure parts of a pass, off the loop, done again only when their input changed.

Decides nothing; called by observe.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from operators.cluster_operator.cluster.world import Remembered
from operators.domain.plane.certificates import LeafSpec, RootSpec, digest_of, leaf_specs, root_specs
from operators.domain.plane.desired import desired_plane
from operators.domain.plane.desired import inside as desired_inside
from operators.domain.plane.drift import stamped
from operators.domain.plane.flags import refuse_unknown
from operators.domain.plane.inputs import PlaneEndpoint, PlaneInputs
from operators.domain.plane.view import LeafFault, Plan
from operators.errors import KokError
from operators.ports.catalogue import CataloguePort
from operators.services.pki import leaf_fault, root_fault

SecretData = Mapping[str, str]
TRIAL = PlaneEndpoint("endpoint.invalid", 6443, ("192.0.2.1",))
"""Stands for an endpoint that has no address yet, to check a wish before anything is touched."""
JUDGED_SECONDS = 3600.0
"""How long a leaf counts as sound without being looked at again: its life is a year, it is renewed at two thirds of that."""


class Planner:
    """Renders planes and judges keys."""

    def __init__(self, catalogue: CataloguePort, *, plans: int = 8, packed: int = 5_000) -> None:
        """As many plans are kept whole, and `packed` of them, the last of each plane and package, as 17 KiB: a fleet is polled every minute."""
        self._catalogue = catalogue
        self._plans: Remembered[Plan | KokError] = Remembered(plans)
        self._packed: Remembered[tuple[str, bytes]] = Remembered(packed)
        self._templates: Remembered[Mapping[str, str]] = Remembered(8)
        self._judged: Remembered[str] = Remembered(20_000, JUDGED_SECONDS)

    async def plan(self, inputs: PlaneInputs) -> tuple[Plan | KokError, str]:
        """What should exist, or why it cannot be said; and a digest of what it depends on."""
        digest = _digest_of(inputs)
        if known := self._plans.get(digest):
            return known, digest
        place = (inputs.cluster.metadata.uid, inputs.package.metadata.name, inputs.emulated)
        before, packed = self._packed.get(place) or ("", b"")
        if before == digest:
            return self._plans.put(digest, unpacked(packed)), digest
        plan = await asyncio.to_thread(self._render, inputs)
        if isinstance(plan, Plan):
            self._packed.put(place, (digest, packed_of(plan)))
        return self._plans.put(digest, plan), digest

    def _render(self, inputs: PlaneInputs) -> Plan | KokError:
        revision = inputs.package.spec.plane_revision
        try:
            templates = self._templates.get(revision) or self._templates.put(revision, self._catalogue.plane_templates(revision))
            refuse_unknown(inputs.package, inputs.cluster, self._catalogue.component_flags(inputs.package.spec.kubernetes_version))
            if inputs.endpoint is None:  # what does not wait for an address is wrong or right already now
                desired_plane(replace(inputs, endpoint=TRIAL), templates)
            plane = desired_plane(inputs, templates)
            within = desired_inside(inputs, templates) if inputs.endpoint and inputs.endpoint.addresses else ()
        except KokError as error:
            return error
        components = {name: tuple(stamped(each) for each in manifests) for name, manifests in plane.components.items()}
        return Plan(components, dict(plane.waiting), tuple(stamped(each) for each in within))

    async def root_faults(self, inputs: PlaneInputs, found: Mapping[str, SecretData | None]) -> tuple[tuple[RootSpec, ...], dict[str, str]]:
        """The root keys of a plane, and which of those found are unsound."""
        specs = root_specs(inputs)
        faults = {
            spec.secret: await self._judge((spec, _short(found.get(spec.secret))), root_fault, found.get(spec.secret), spec)
            for spec in specs
        }
        return specs, {name: fault for name, fault in faults.items() if fault}

    async def leaf_faults(self, inputs: PlaneInputs, found: Mapping[str, SecretData], now: datetime) -> tuple[LeafFault, ...]:
        """Leaves to issue; for sound root keys only."""
        faults = []
        for spec in leaf_specs(inputs):
            data, ca = found.get(spec.secret), found[spec.signer]
            what = (spec, _short(data), _short(ca))
            if fault := await self._judge(what, leaf_fault, data, spec, ca, now):
                faults.append(LeafFault(spec, fault))
        return tuple(faults)

    async def _judge(self, what: tuple[RootSpec | LeafSpec, str] | tuple[LeafSpec, str, str], judge: object, *arguments: object) -> str:
        """Words of a fault, empty if there is none; sound ones are remembered."""
        assert callable(judge)
        if self._judged.get(what):
            return ""
        fault = await asyncio.to_thread(judge, *arguments)
        if not fault:
            self._judged.put(what, "sound")
        return str(fault or "")


def packed_of(plan: Plan) -> bytes:
    """A plan as it comes out of rendering, small."""
    parts = [plan.components, plan.waiting, plan.inside]
    return zlib.compress(json.dumps(parts, separators=(",", ":")).encode(), level=1)


def unpacked(packed: bytes) -> Plan:
    """What was packed."""
    components, waiting, inside = json.loads(zlib.decompress(packed))
    return Plan({name: tuple(manifests) for name, manifests in components.items()}, waiting, tuple(inside))


def _short(data: SecretData | None) -> str:
    return digest_of(data) if data else ""


def _digest_of(inputs: PlaneInputs) -> str:
    cluster, package = inputs.cluster, inputs.package
    endpoint = inputs.endpoint
    parts = [
        cluster.metadata.namespace,
        cluster.metadata.name,
        cluster.metadata.uid,
        cluster.spec.model_dump(mode="json"),
        package.metadata.name,
        package.metadata.uid,
        inputs.emulated,
        [endpoint.host, endpoint.port, *endpoint.addresses] if endpoint else None,
        [inputs.tunnel.host, inputs.tunnel.port] if inputs.tunnel else None,
        dict(sorted(inputs.secret_digests.items())),
        [[etcd, shape.initial, shape.replicas] for etcd, shape in sorted(inputs.etcd_shapes.items())],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

"""Reads one pool: itself, its cluster and catalogue, what is released, claimed and shown, and what the machine passes found. Changes nothing."""

from __future__ import annotations

from operators.api.machines import Machine
from operators.api.pools import HostRelease, MachinePool
from operators.domain.machine.pool_view import PoolView
from operators.domain.machine.staging import packages_ahead
from operators.errors import KokError
from operators.machine_operator import kinds
from operators.machine_operator.meta import Meta
from operators.machine_operator.world import World
from operators.ports.kube import Key, Manifest


class PoolObserver:
    """Builds views."""

    def __init__(self, world: World, meta: Meta) -> None:
        self._world, self._meta = world, meta

    async def observe(self, key: Key) -> PoolView | None:
        """The view of a pool; None when it is gone or belongs to another cluster. Raises KokError InvalidObject."""
        manifest = self._world.cache.get(kinds.MACHINE_POOL.ref(key.name, key.namespace)) if key.name else None
        pool = MachinePool.parse(manifest) if manifest else None
        if pool is None or pool.spec.cluster_name != self._world.identity.cluster:
            return None
        return self.view_of(pool)

    def view_of(self, pool: MachinePool) -> PoolView:
        """The view of this pool."""
        packages, released, problem = self._released(pool)
        return PoolView(
            self._world.now(),
            pool,
            tuple(other for other in self._meta.pools().items if other.metadata.uid != pool.metadata.uid),
            self._meta.cluster_state(),
            packages,
            self._meta.catalogue(),
            released,
            problem,
            self._meta.claims(),
            self._machines(),
            self._world.board.verdicts,
            () if problem else self._meta.orders(pool),
            () if problem else packages_ahead(self._meta.staging(pool), self._world.now()),
            None if problem else self._meta.taken_back(),
        )

    def _released(self, pool: MachinePool) -> tuple[tuple[str, ...] | None, tuple[HostRelease, ...], KokError | None]:
        packages: tuple[str, ...] | None = None
        try:
            released = self._meta.released(pool)
        except KokError as error:
            return None, (), error
        try:
            packages = self._meta.cluster_packages()
        except KokError as error:
            return None, released, error if pool.spec.packages.explicit is None else None
        return packages, released, None

    def _machines(self) -> dict[str, Machine]:
        """By name; one that cannot be parsed counts as not there, and is put right by the patch that would make it."""
        machines = self._world.cache.read_all(kinds.MACHINE_KIND, _machine, server=kinds.BUSINESS)
        return {machine.metadata.name: machine for machine in machines if machine}


def _machine(manifest: Manifest) -> Machine | None:
    try:
        return Machine.parse(manifest)
    except KokError:
        return None

"""What a fleet rollout ordered beyond a pool's wish: one other package of a component that the pool has, under limits of its own. Pure.

The wish stays what people wrote. An order holds as long as the pool still wishes what it wished when the order was given: whoever edits the
wish of that component afterwards has the last word. Called by the pool ladder and for what is shown as pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from operators.api.cluster_release import AuthorisedBy
from operators.api.packages import MachinePackageVersion
from operators.api.pools import MaxUnavailable, PoolOrder, UpdateStrategy


def in_force(orders: Iterable[PoolOrder], wished: Sequence[str], catalogue: Mapping[str, MachinePackageVersion]) -> tuple[PoolOrder, ...]:
    """Orders that still hold for a pool that wishes these packages; one for a package that does not exist holds nothing."""
    return tuple(order for order in orders if order.instead_of in wished and order.package in catalogue)


def with_orders(wished: Sequence[str], orders: Iterable[PoolOrder], catalogue: Mapping[str, MachinePackageVersion]) -> tuple[str, ...]:
    """The packages that the hosts shall have: the wish, with what was ordered in its place, in the order of installation."""
    instead = {order.instead_of: order.package for order in orders}
    return tuple(sorted((instead.get(name, name) for name in wished), key=lambda name: (catalogue[name].spec.order, name)))


def limited(strategy: UpdateStrategy, orders: Sequence[PoolOrder]) -> UpdateStrategy:
    """The pool's own strategy, and never more at once than the strictest order allows."""
    if not orders:
        return strategy
    most, own = min(order.max_unavailable for order in orders), strategy.max_unavailable
    narrow = MaxUnavailable(count=min(own.count, most), percent=own.percent, floor=min(own.floor, most))
    return strategy.model_copy(update={"max_unavailable": narrow})


def words_of(orders: Sequence[PoolOrder]) -> str:
    """Why hosts change, if an order is the reason."""
    return "; ".join(f"rollout {order.rollout}: {order.reason}" for order in orders)[:1024]


def goes_back(orders: Iterable[PoolOrder]) -> bool:
    """Whether what is in force takes something back: then leave is asked for as for a rollback."""
    return any(order.by is AuthorisedBy.Undo for order in orders)

"""What rollouts order for a pool: what holds, under which limits, and how long."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.packages import MachinePackageVersion
from operators.api.pools import MaxUnavailable, PoolOrder, UpdateStrategy
from operators.domain.machine.orders import goes_back, in_force, limited, with_orders, words_of
from operators.domain.machine.release import limit_of


def package(name: str, component: str, order: int) -> MachinePackageVersion:
    spec = {"component": component, "version": "1", "order": order}
    return MachinePackageVersion.parse({"kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": spec})


CATALOGUE = {
    name: package(name, component, order)
    for name, component, order in (("containerd-1", "containerd", 10), ("kubelet-1", "kubelet", 30), ("kubelet-2", "kubelet", 30))
}
WISH = ("containerd-1", "kubelet-1")


def order(**fields: Any) -> PoolOrder:
    base = {"component": "kubelet", "package": "kubelet-2", "insteadOf": "kubelet-1", "by": "Rollout", "rollout": "train-7"}
    return PoolOrder.model_validate({**base, "at": "2026-03-01T12:00:00Z", "reason": "stage all", **fields})


def test_should_put_what_was_ordered_in_the_place_of_the_wish() -> None:
    orders = in_force([order()], WISH, CATALOGUE)
    assert with_orders(WISH, orders, CATALOGUE) == ("containerd-1", "kubelet-2")
    assert words_of(orders) == "rollout train-7: stage all"
    assert not goes_back(orders)
    assert goes_back([order(by="Undo", package="kubelet-1")])


@pytest.mark.parametrize(
    ("wish", "fields"),
    [(("containerd-1", "kubelet-2"), {}), (("containerd-1",), {}), (WISH, {"package": "kubelet-9"})],
    ids=["a person wished another", "a person took it away", "the package is gone"],
)
def test_should_not_hold_against_a_later_wish(wish: tuple[str, ...], fields: dict[str, Any]) -> None:
    assert with_orders(wish, in_force([order(**fields)], wish, CATALOGUE), CATALOGUE) == wish


def test_should_never_let_more_hosts_go_than_the_pool_or_the_order_allows() -> None:
    generous = UpdateStrategy(max_unavailable=MaxUnavailable(count=50, percent=100, floor=5))
    assert limit_of(generous, 20) == 20
    assert limit_of(limited(generous, [order()]), 20) == 1
    assert limit_of(limited(generous, [order(maxUnavailable=3)]), 20) == 3
    assert limit_of(limited(generous, []), 20) == 20
    assert limit_of(limited(UpdateStrategy(), [order(maxUnavailable=9)]), 20) == 1, "the pool's own limit still holds"

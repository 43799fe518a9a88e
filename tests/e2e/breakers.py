"""Breakers as the Ledger has them, and a person who closes one after a bad rollout. Used by stories."""

from __future__ import annotations

from meta_cluster.demo.kubectl import wait_until
from meta_cluster.demo.stories import kok
from tests.e2e.ground import Fleet


def phase_of_breaker(fleet: Fleet, budget: str, scope: str = "") -> str:
    """By the Ledger."""
    ledger = fleet.meta.get("ledgers.kok.dev", "ledger", "-n", "kok-system") or {}
    found = [each for each in ledger["spec"].get("breakers") or () if each["budget"] == budget and scope in ("", each["scope"])]
    return next((str(each["phase"]) for each in found), "Closed")


def close_breaker(fleet: Fleet, budget: str, scope: str) -> None:
    """A bad rollout opened it, in that scope alone; a person who has looked lets the next one go."""
    wait_until(f"{budget} is open in {scope}", lambda: phase_of_breaker(fleet, budget, scope) in ("Open", "HalfOpen"), timeout=60)
    access = f"--kubeconfig={fleet.lab['kubeconfig']}"
    print(kok("budget", "close", budget, "--scope", scope, "--reason", "the story knows why", access))
    wait_until(f"{budget} is closed in {scope}", lambda: phase_of_breaker(fleet, budget, scope) == "Closed", timeout=60)

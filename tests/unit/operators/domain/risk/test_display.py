"""What a budget shows, and that showing many scopes stays cheap."""

from __future__ import annotations

import time
from typing import Any

import pytest

from operators.api.budgets import OperationBudget
from operators.api.risk import LedgerSpec
from operators.domain.risk.display import budget_status, scope_uses, span_words
from operators.domain.risk.scopes import ClusterId
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.risk.builders import budget, entry, later, ledger, machine, spent
from tests.unit.operators.domain.risk.test_breaker import breaker

HOURLY = {"rate": {"count": 10, "windowSeconds": 3600}, "concurrency": {"count": 2}}


def shown(of: OperationBudget, held: LedgerSpec | KokError, seconds: float = 10, **labels: dict[str, str]) -> dict[str, Any]:
    clusters = {ClusterId("demo", name): each for name, each in labels.items()}
    return budget_status(of, held, clusters, later(seconds))


def condition(status: dict[str, Any], name: str = "Ready") -> tuple[str, str]:
    found = next(each for each in status["conditions"] if each["type"] == name)
    return found["status"], found["reason"]


def test_should_show_the_busiest_scope_first_and_who_holds_it() -> None:
    held = ledger(entry(target=machine("b")), log=(spent(), spent("op-9", 5, machine("z", "gpu")), spent("op-8", 6, machine("y", "gpu"))))
    status = shown(budget(**HOURLY), held)
    assert (status["used"], status["free"], status["breaker"], status["scopeCount"]) == (
        "1 granted, 1 at once",
        "9/h, 1 at once",
        "Closed",
        2,
    )
    assert [(each["scope"], each["rateUsed"]) for each in status["scopes"]] == [("pool demo/workers", 1), ("pool demo/gpu", 2)]
    assert "Drain of Machine b by machine-operator/demo holds it since" in status["scopes"][0]["holders"][0]


def test_should_say_when_a_full_window_is_free() -> None:
    status = shown(budget(rate={"count": 1, "windowSeconds": 60}), ledger(log=(spent(),)))
    assert (status["free"], status["scopes"][0]["freeAt"]) == ("0/m", "2026-03-01T12:01:00Z")
    assert shown(budget(rate={"count": 1, "windowSeconds": 60}), ledger(log=(spent(),)), seconds=61)["used"] == "nothing"


@pytest.mark.parametrize(
    ("of", "held", "ready", "phase"),
    [
        (budget(), ledger(), ("True", "InForce"), "Closed"),
        (budget(), ledger(breakers=(breaker(),)), ("True", "BreakerOpen"), "Open"),
        (
            budget(hold={"mode": "ForcedOpen", "reason": "x", "until": "2030-01-01T00:00:00Z"}),
            ledger(),
            ("True", "ForcedOpen"),
            "ForcedOpen",
        ),
        (budget(hold={"mode": "Disabled", "reason": "x", "until": "2020-01-01T00:00:00Z"}), ledger(), ("True", "InForce"), "Closed"),
        (budget(clusters={}), ledger(), ("False", "SelectorEmpty"), "Closed"),
        (budget(), KokError(ErrorCode.LedgerUnreadable, "lost"), ("False", "LedgerUnreadable"), "Closed"),
    ],
)
def test_should_say_whether_it_is_in_force(of: OperationBudget, held: LedgerSpec | KokError, ready: tuple[str, str], phase: str) -> None:
    status = shown(of, held)
    assert (condition(status), status["breaker"]) == (ready, phase)
    assert condition(status, "Stalled")[0] == ("False" if ready[0] == "True" else "True")
    again = of.model_copy(update={"status": type(of).parse({**of.manifest(), "status": status}).status})
    assert budget_status(again, held, {}, later(500)) == status, "a second look changes nothing"


def test_should_show_only_clusters_that_it_selects() -> None:
    of = budget(per="Cluster", clusters={"matchLabels": {"env": "prod"}})
    held = ledger(entry(target=machine("b")))
    assert shown(of, held, demo={"env": "prod"})["scopeCount"] == 1
    assert shown(of, held, demo={"env": "test"})["scopeCount"] == 0


@pytest.mark.parametrize(("seconds", "words"), [(3600, "h"), (7200, "2h"), (60, "m"), (1800, "30m"), (45, "45s")])
def test_should_name_spans(seconds: int, words: str) -> None:
    assert span_words(seconds) == words


def test_should_not_cost_more_for_a_thousand_scopes_than_for_one() -> None:
    """Ten times the time at most: every entry is looked at once, whatever its scope."""

    def seconds(pools: int) -> float:
        log = tuple(spent(f"op-{number}", target=machine(f"m{number}", f"p{number % pools}")) for number in range(1000))
        began = time.process_time()
        uses = scope_uses(budget(**HOURLY | {"rate": {"count": 1000, "windowSeconds": 3600}}), ledger(log=log), {}, later(10))
        assert len(uses) == pools
        return time.process_time() - began

    of_one, of_many = (min(seconds(pools) for _ in range(3)) for pools in (1, 1000))
    assert of_many < 10 * of_one

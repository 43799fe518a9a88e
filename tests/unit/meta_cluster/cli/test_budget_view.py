"""`kok budget` within a hundred columns: the table, and below it who holds what and when it is free."""

from dataclasses import replace
from datetime import UTC, datetime

from meta_cluster.cli.budget_view import Row, notes_text, rows_table
from meta_cluster.cli.tables import rendered

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOLDER = (
    "DeleteMachine of Machine w-1 by machine-operator/demo holds it since 2026-03-01T11:58:00Z (grant d-1), free when it reports its end"
)
BUSY = Row(
    "machines-per-pool",
    "pool demo/workers",
    ("Drain",),
    "120 granted, 1 at once",
    "0/h, 0 at once",
    "2026-03-01T12:22:00Z",
    "Closed",
    "",
    (HOLDER, HOLDER),
)
IDLE = Row("all-changes", "(per Fleet)", ("Drain",), "nothing", "900/h", "", "Closed", "", ())


def test_should_fit_a_hundred_columns_while_somebody_holds_something() -> None:
    text = rendered(rows_table([BUSY, IDLE]), width=100) + notes_text([BUSY, IDLE], NOW, 100)
    assert max(map(len, text.splitlines())) <= 100
    flat = " ".join(text.split())
    assert (
        "machines-per-pool pool demo/workers: free in 22m, held by DeleteMachine of Machine w-1 by machine-operator/demo for 2m and 1 more"
        in flat
    )
    assert "…" not in text


def test_should_add_nothing_where_nobody_holds_anything() -> None:
    assert notes_text([IDLE], NOW, 100) == ""
    assert "FREE AT" not in rendered(rows_table([IDLE]))
    assert HOLDER in rendered(rows_table([BUSY], wide=True))


def test_should_say_below_the_table_what_opened_a_breaker() -> None:
    tripped = replace(IDLE, scope="cluster demo/demo", breaker="Open", breaker_reason="rollout train-7 found v2 bad")
    assert "all-changes   cluster demo/demo: breaker Open: rollout train-7 found v2 bad" in notes_text([tripped], NOW, 100)

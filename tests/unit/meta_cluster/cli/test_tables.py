"""Tables hold what kubectl's columns hold, and fit."""

from datetime import timedelta

import pytest

from meta_cluster.cli.kinds import NAMED, kind_named, kinds_named
from meta_cluster.cli.observe import shown_of
from meta_cluster.cli.output import Output, data_text, name_text
from meta_cluster.cli.tables import Table, rendered, table_of, value_at
from meta_cluster.cli.times import age_of, span_of
from operators.errors import KokError
from tests.unit.meta_cluster.cli import pictures as p

CLUSTER = kind_named("cluster")
BROKEN = p.broken().cluster


def test_should_show_the_columns_of_the_kind() -> None:
    assert rendered(table_of(CLUSTER, [p.WELL.cluster], p.NOW, namespaces=True)).splitlines() == [
        "NAMESPACE   NAME   VERSION   READY   PHASE   ENDPOINT                  MACHINES   AGE",
        "demo        demo   v1.35.4   True    Ready   https://10.89.0.2:31443   1          2h",
    ]


def test_should_add_the_message_of_what_is_not_fine() -> None:
    assert "apiserver: 0 of 1 pods are ready" in rendered(table_of(CLUSTER, [BROKEN], p.NOW))
    assert "MESSAGE" not in rendered(table_of(CLUSTER, [p.WELL.cluster], p.NOW))


def test_should_fit_a_hundred_columns_and_mark_what_was_cut() -> None:
    long = {**BROKEN, "status": {**BROKEN["status"], "message": "x" * 200}}
    text = rendered(table_of(CLUSTER, [long, p.WELL.cluster], p.NOW, namespaces=True), width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" in text
    assert "x" * 200 in rendered(table_of(CLUSTER, [long], p.NOW, wide=True))


def test_should_leave_out_what_says_least_so_that_the_message_can_be_read() -> None:
    narrow = rendered(table_of(CLUSTER, [BROKEN], p.NOW, namespaces=True), width=100)
    assert "ENDPOINT" not in narrow
    assert "apiserver: 0 of 1 pods are ready" in narrow
    assert "ENDPOINT" in rendered(table_of(CLUSTER, [p.WELL.cluster], p.NOW, namespaces=True), width=100)


def test_should_say_whose_a_machine_is() -> None:
    machines = [shown_of(p.UNREACHABLE, "demo/demo"), shown_of(p.OPEN, "a/b")]
    lines = rendered(table_of(kind_named("kma"), machines, p.NOW)).splitlines()
    assert lines[0].split()[:2] == ["CLUSTER", "NAME"]
    assert [line.split()[0] for line in lines[1:]] == ["a/b", "demo/demo"]


def test_should_not_show_in_data_what_only_tables_know() -> None:
    assert "shown-cluster" not in data_text([shown_of(p.OPEN, "a/b")], Output.Json, single=True)


def test_should_give_one_object_or_a_list() -> None:
    assert data_text([p.OPEN], Output.Json, single=True).startswith('{\n  "apiVersion": "kok.dev/v1alpha1"')
    assert data_text([p.OPEN], Output.Yaml, single=False).startswith("apiVersion: v1\nkind: List")
    assert name_text([p.OPEN]) == "machine.kok.dev/demo-1"


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.name)
def test_should_find_a_kind_by_every_alias(kind: object) -> None:
    assert all(kind_named(alias.upper()) is kind for alias in kind.aliases)  # type: ignore[attr-defined]


def test_should_name_every_kind_at_once() -> None:
    assert kinds_named("kok") == NAMED


def test_should_say_what_is_close_to_an_unknown_kind() -> None:
    with pytest.raises(KokError) as refusal:
        kind_named("machnes")
    assert refusal.value.hint == "did you mean machines?"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".status.phase", "Repairing"),
        (".status.conditions[?(@.type=='Ready')].status", "False"),
        (".status.no.such", None),
        (".status.conditions[?(@.type=='No')].status", None),
    ],
)
def test_should_find_what_a_column_names(path: str, value: object) -> None:
    assert value_at(BROKEN, path) == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (119, "119s"), (120, "2m"), (3599, "59m"), (3600, "1h"), (86400 * 3, "3d"), (86400 * 800, "2y")],
)
def test_should_print_ages_as_kubectl_does(seconds: int, text: str) -> None:
    assert span_of(seconds) == text
    assert age_of((p.NOW - timedelta(seconds=max(seconds, 0))).isoformat(), p.NOW) == text


def test_should_not_fail_on_a_time_that_is_none() -> None:
    assert age_of("yesterday", p.NOW) == "?"
    assert age_of(None, p.NOW) == ""


def test_should_keep_narrow_tables_as_they_are() -> None:
    assert rendered(Table(("A", "B"), (("1", "2"),)), width=100) == "A   B\n1   2"

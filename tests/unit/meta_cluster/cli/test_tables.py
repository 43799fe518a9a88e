"""Tables hold what kubectl's columns hold, and fit."""

from datetime import timedelta

import pytest

from meta_cluster.cli.kinds import NAMED, kind_named, kinds_named
from meta_cluster.cli.observe import shown_of
from meta_cluster.cli.output import Output, data_text, name_text
from meta_cluster.cli.tables import Table, messages_of, rendered, table_of, value_at
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


def test_should_keep_the_columns_and_say_below_them_what_is_not_fine() -> None:
    broken, well = table_of(CLUSTER, [BROKEN], p.NOW), table_of(CLUSTER, [p.WELL.cluster], p.NOW)
    assert broken.headings == well.headings
    assert messages_of(CLUSTER, [BROKEN, p.WELL.cluster], 100) == "demo: apiserver: 0 of 1 pods are ready"
    assert messages_of(CLUSTER, [p.WELL.cluster], 100) == ""


def test_should_not_cut_a_cause_however_long_it_is() -> None:
    long = " ".join(["word"] * 60) + " the cause"
    text = messages_of(CLUSTER, [{**BROKEN, "status": {**BROKEN["status"], "message": long}}], 100)
    assert max(map(len, text.splitlines())) <= 100
    assert text.endswith("the cause")
    assert long in rendered(table_of(CLUSTER, [{**BROKEN, "status": {**BROKEN["status"], "message": long}}], p.NOW, wide=True))


def test_should_name_the_first_of_many_messages() -> None:
    many = [{**BROKEN, "metadata": {**BROKEN["metadata"], "name": f"c{number:02}"}} for number in range(14)]
    lines = messages_of(CLUSTER, many, 100).splitlines()
    assert (len(lines), lines[-1]) == (11, "(4 more messages: -o wide)")


def test_should_fit_a_hundred_columns_and_mark_what_was_cut() -> None:
    long = {**BROKEN, "metadata": {**BROKEN["metadata"], "name": "x" * 120}}
    text = rendered(table_of(CLUSTER, [long, p.WELL.cluster], p.NOW, namespaces=True), width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" in text


def test_should_know_rollouts_by_the_word_of_their_command() -> None:
    assert kind_named("rollouts") is kind_named("rollout") is kind_named("fleetrollouts")


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

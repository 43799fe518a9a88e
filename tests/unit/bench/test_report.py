"""The benchmark's table and plot."""

from tests.bench.report import Row, plot, table


def test_should_miss_a_bar_when_the_ratio_or_the_value_is_above_it() -> None:
    fine = Row("plane", "s", (8.0, 9.0, 7.0), (6.0, 6.0, 6.0), max_ratio=1.5, max_value=10)
    assert fine.holds
    assert not Row("plane", "s", (10.0,), (6.0,), max_ratio=1.5).holds
    assert not Row("plane", "s", (11.0,), max_value=10).holds
    assert not Row("plane", "s", (11.0,), max_ratio=1.5).holds, "a bar without its baseline is not met"


def test_should_print_medians_ratio_and_verdict() -> None:
    text = table([Row("plane ready", "s", (8.0, 9.0, 7.0), (6.0, 4.0, 8.0), max_ratio=1.0, setting="1 etcd")])
    assert text.splitlines()[1].split() == ["plane", "ready", "8.0", "s", "6.0", "s", "1.33", "<=", "1x", "MISSED", "1", "etcd"]


def test_should_plot_both_sides_on_one_scale() -> None:
    lines = plot([Row("plane", "s", (5.0,), (10.0,))]).splitlines()
    assert lines[1].count("#") * 2 == lines[2].count("=")


def test_should_miss_a_bar_of_nothing_when_a_single_run_misses_it() -> None:
    assert Row("touched", "", (0.0, 0.0, 0.0), max_value=0).holds
    assert not Row("touched", "", (0.0, 0.0, 1.0), max_value=0).holds
    assert Row("seconds", "s", (5.0, 5.0, 7.0), max_value=6).holds, "others are of the median"

"""The demo's printed tables."""

from pathlib import Path

import pytest

from meta_cluster.demo.stories import from_home
from meta_cluster.demo.timeline import Breakage, Stage, breakage_lines, duration, stage_line, try_next


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0s"), (8.14, "8.1s"), (59.9, "59.9s"), (60, "1m 00s"), (161.7, "2m 41s")])
def test_should_print_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("what", ["apiserver pod deleted", "/etc/sysctl.d/90-kok-kubelet.conf edited on demo-2", "x" * 78])
def test_should_keep_columns_aligned_and_within_100(what: str) -> None:
    stage = stage_line(Stage("cluster demo", "first authorised write; ~/.local/state/kok/lab/demo.kubeconfig", 8.1))
    remark = "(issued anew, apiserver rolled)"
    rows = breakage_lines([Breakage(what, 8.0, 112.4, remark), Breakage("short", 1.0, 2.0)])
    assert max(len(line) for line in [stage, *rows]) <= 100
    assert remark in " ".join(rows)
    ends = [row.index(time) + len(time) for row, time in ((rows[0], "healed"), (rows[1], "1m 52s"), (rows[-1], "2.0s"))]
    assert len(set(ends)) == 1, rows


def test_should_name_what_to_type_next_within_100_columns_and_keep_the_admin_file_to_oneself() -> None:
    lines = try_next(".venv/bin/kok lab kubeconfig")
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if "> " in line and "umask 077" not in line], "what grants everything is readable by its owner only"


def test_should_say_where_a_kubeconfig_lies() -> None:
    assert from_home(Path.home() / "a/demo.kubeconfig") == "~/a/demo.kubeconfig"
    assert from_home(Path("/srv/demo.kubeconfig")) == "/srv/demo.kubeconfig"

"""The demo's printed tables."""

import pytest

from meta_cluster.demo.timeline import Breakage, Stage, breakage_lines, duration, stage_line


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0s"), (8.14, "8.1s"), (59.9, "59.9s"), (60, "1m 00s"), (161.7, "2m 41s")])
def test_should_print_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_should_keep_every_line_within_100_columns() -> None:
    stage = stage_line(Stage("cluster demo", "namespace demo, kubeconfig kok-demo-demo.kubeconfig: first write", 8.1))
    rows = breakage_lines([Breakage("/etc/sysctl.d/90-kok-kubelet.conf edited on demo-2", 8.0, 112.4, "(pods kept running)")])
    assert max(len(line) for line in [stage, *rows]) <= 100
    assert rows[1].split()[-3:] == ["(pods", "kept", "running)"]

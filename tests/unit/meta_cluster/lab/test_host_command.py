"""`kok lab host kill` says how long it takes until somebody notices."""

from __future__ import annotations

import pytest

from meta_cluster.cli.main import run
from meta_cluster.lab import catalogue, hosts
from operators.machine_operator.probes import DEADLINE_SECONDS


@pytest.mark.parametrize("deed", ["kill", "partition"])
def test_should_say_when_it_will_be_noticed(deed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(hosts, deed, lambda name: hosts.Host(name, "10.89.0.12", "off", ()))
    assert run(["lab", "host", deed, "demo-2"]) == 0
    told = capsys.readouterr()
    assert f"every {catalogue.PROBE_SECONDS} s" in told.err
    assert f"after {DEADLINE_SECONDS:.0f} s" in told.err
    assert "every" not in told.out

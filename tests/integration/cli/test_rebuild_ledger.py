"""`kok meta rebuild-ledger` on a real API server with the policies that guard journals in force."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.cli.main import run
from tests.integration.api_server import ApiServer
from tests.sample_manifests import sample_path

ROOT = Path(__file__).parents[3]
BREAK_GLASS = ("--as", "jane", "--as-group", "system:masters", "--as-group", "kok:break-glass")
GRANTED = {"decision": "Granted", "decidedAt": "2026-01-02T03:04:05Z", "expiresAt": "2026-01-02T03:19:05Z"}
Kok = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def world(meta_server: ApiServer) -> ApiServer:
    """kok-system without a Ledger, and one grant under which somebody acts."""
    meta_server.install_kinds()
    for name in ("demo", "kok-system"):
        meta_server.kubectl("create", "namespace", name)
    journals = yaml.safe_load_all(sample_path("journals.yaml").read_text())
    grant = next(manifest for manifest in journals if manifest["kind"] == "OperationGrant")
    for arguments, manifest in ((), grant), (("--subresource=status",), {**grant, "status": GRANTED}):
        meta_server.kubectl("apply", "--server-side", *arguments, "-f", "-", stdin=json.dumps(manifest))
    meta_server.kubectl("apply", "--server-side", "-f", str(ROOT / "manifests" / "operators" / "base" / "journals-admission.yaml"))
    _wait_for_policies(meta_server)
    return meta_server


def _wait_for_policies(server: ApiServer) -> None:
    """They take effect a moment after they were written."""
    for _ in range(200):
        try:
            server.kubectl(
                "annotate", "operationgrants.kok.dev", "-n", "demo", "drain-demo-1-0", "try=1", "--overwrite", "--dry-run=server"
            )
        except AssertionError:
            return
        time.sleep(0.1)
    pytest.fail("the policies never took effect")


@pytest.fixture
def kok(world: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Kok:
    """Runs a command line; exit code, stdout, stderr."""
    monkeypatch.setenv("KUBECONFIG", str(world.admin_kubeconfig))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def ledger(world: ApiServer) -> dict[str, Any] | None:
    text = world.kubectl("get", "ledgers.kok.dev", "ledger", "-n", "kok-system", "-o", "json", "--ignore-not-found")
    return json.loads(text) if text.strip() else None


def test_should_ask_with_its_own_words_and_do_nothing_where_nobody_answers(kok: Kok, world: ApiServer) -> None:
    code, out, err = kok("meta", "rebuild-ledger")
    assert (code, out) == (1, "")
    assert "makes the Ledger anew: acts in flight whose OperationGrant was deleted will not be counted" in err
    assert "removes" not in err
    assert "do    pass --yes" in err
    assert ledger(world) is None


def test_should_be_for_the_break_glass_group_only(kok: Kok, world: ApiServer) -> None:
    code, _, err = kok("meta", "rebuild-ledger", "--yes")
    assert code == 1
    assert "code  Forbidden" in err
    assert "kok:break-glass" in err
    assert ledger(world) is None


def test_should_count_what_is_in_flight_and_run_once(kok: Kok, world: ApiServer) -> None:
    assert kok("meta", "rebuild-ledger", "--yes", *BREAK_GLASS) == (0, "Ledger made anew with 1 acts in flight\n", "")
    made = ledger(world)
    assert made is not None
    assert [(entry["opId"], entry["namespace"]) for entry in made["spec"]["inFlight"]] == [("drain-demo-1-0", "demo")]
    code, _, err = kok("meta", "rebuild-ledger", "--yes", *BREAK_GLASS)
    assert code == 1
    assert "there is nothing to rebuild" in err
    assert ledger(world) == made


def test_should_say_when_one_may_not_act_as_another(kok: Kok, world: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(world.kubeconfig("nobody"))
    code, _, err = kok("meta", "rebuild-ledger", "--yes", "--kubeconfig", str(tmp_path / "config"), *BREAK_GLASS)
    assert code == 1
    assert 'cannot impersonate resource "users"' in err

"""The words of `kok upgrade` become a FleetRollout that the kind takes; what makes no sense is refused with what to type."""

from __future__ import annotations

import pytest

from meta_cluster.cli.main import run
from meta_cluster.cli.rollout_wish import (
    UpgradeWords,
    canaries_of,
    labels_of,
    members_named,
    members_selected,
    rollout_manifest,
    seconds_of,
)
from operators.api.rollout import FleetRollout, Order
from operators.errors import KokError

TO = "kubernetes-1.35.4-r1"
WORDS = UpgradeWords(TO, "env=prod", ("c1",), "5%,25%,rest", "10m", 3)


def test_should_make_the_rollout_that_the_words_mean() -> None:
    manifest = rollout_manifest("october", WORDS, ["prod/c1"])
    spec = FleetRollout.parse(manifest).spec
    assert [stage.name for stage in spec.stages] == ["canary", "to-5-percent", "to-25-percent", "rest"]
    assert [stage.max_parallel for stage in spec.stages] == [1, 3, 3, 3]
    assert {stage.soak_seconds for stage in spec.stages} == {600}
    assert spec.stages[0].clusters == ("prod/c1",)
    assert spec.selector.match_labels == {"env": "prod"}
    assert spec.order is Order.Go
    assert "mode" not in manifest["spec"]


def test_should_ask_for_approval_of_every_stage_but_the_first() -> None:
    words = UpgradeWords(TO, "env=prod", approve_each=True, stages="50%,rest", by="jane", reason="CVE", pause_on_fail=True)
    spec = FleetRollout.parse(rollout_manifest("x", words, [])).spec
    assert [stage.approval for stage in spec.stages] == [False, True]
    assert (spec.said.by, spec.said.reason, spec.on_fail.value) == ("jane", "CVE", "Pause")


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ("rest,5%", "rest is not the last"),
        ("25%,5%", "does not rise"),
        ("5%,5%", "does not rise"),
        ("five", "neither"),
        ("0%", "neither"),
        ("", "empty"),
    ],
)
def test_should_refuse_stages_that_make_no_order(stages: str, says: str) -> None:
    with pytest.raises(KokError, match=says):
        rollout_manifest("x", UpgradeWords(TO, "env=prod", stages=stages), [])


@pytest.mark.parametrize("selector", ["env", "env=", "env!=prod", "=prod", "env=prod,", "env==prod", "", "  "])
def test_should_take_only_equalities_and_never_an_empty_selector(selector: str) -> None:
    if selector == "env=":
        assert labels_of(selector) == {"env": ""}
        return
    with pytest.raises(KokError, match="--selector"):
        labels_of(selector)


@pytest.mark.parametrize(("word", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0", 0)])
def test_should_read_durations(word: str, seconds: int) -> None:
    assert seconds_of(word, "--soak") == seconds


@pytest.mark.parametrize("word", ["10", "m", "-5m", "1.5h", "10 m", ""])
def test_should_refuse_what_is_no_duration(word: str) -> None:
    with pytest.raises(KokError, match="not a duration"):
        seconds_of(word, "--soak")


def test_should_find_canaries_by_name_or_place() -> None:
    selected = ["a/c1", "b/c1", "b/c2"]
    assert canaries_of(["c2", "a/c1", "c2"], selected) == ["b/c2", "a/c1"]
    with pytest.raises(KokError, match="more than one"):
        canaries_of(["c1"], selected)
    with pytest.raises(KokError, match="none of the selected"):
        canaries_of(["c9"], selected)


def test_should_select_clusters_that_carry_all_labels() -> None:
    def cluster(name: str, **labels: str) -> dict[str, object]:
        return {"metadata": {"name": name, "namespace": "n", "labels": labels}}

    found = members_named(members_selected([cluster("b", env="prod", zone="z1"), cluster("a", env="prod"), cluster("c")], {"env": "prod"}))
    assert found == ["n/a", "n/b"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["upgrade"], "no --to"),
        (["upgrade", "--to", TO], "no --selector: nothing is selected"),
        (["plan", "--to", TO], "no --selector: nothing is selected"),
        (["upgrade", "--to", TO, "--selector", "env=prod", "--soak", "ten"], "--soak ten: not a duration"),
        (["upgrade", "--to", TO, "--selector", "env=prod", "--stages", "rest,5%"], "rest is not the last stage"),
        (["upgrade", "--to", TO, "--selector", "env=prod", "--timeout", "soon"], "--timeout soon: not a duration"),
        (["upgrade", "--to", TO, "--selector", "env=prod", "-o", "wide"], "one of json, yaml"),
        (["upgrade", "--to", TO, "--selector", "env=prod", "--max-parallel", "0"], "0 is not in the range"),
        (["rollout", "pause"], "missing argument 'NAME'"),
        (["rollout", "status", "x", "-o", "jsonl"], "one of json, yaml"),
        (["history", "-o", "csv"], "one of wide, json, jsonl, yaml"),
    ],
)
def test_should_refuse_words_before_anybody_is_asked(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    kubeconfig = f"{tmp_path}/config"
    nobody = "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: x, user: {token: t}}]}"
    with open(kubeconfig, "w") as file:
        file.write(nobody)
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    assert run(words) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert "\n  code  Usage" in told.err


def test_should_make_a_rollout_over_pools_of_a_machine_package() -> None:
    words = UpgradeWords("kubelet-1.35.4-r1", "tier=web", stages="50%,rest", of_machines=True)
    spec = FleetRollout.parse(rollout_manifest("x", words, ["prod/w"])).spec
    assert (spec.change.of_machines, spec.change.to) == (True, "kubelet-1.35.4-r1")
    assert spec.stages[0].pools == ("prod/w",)

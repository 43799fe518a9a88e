"""The command starts at once, tells errors in one shape, and exits as kubectl does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meta_cluster.cli.console import Progress, error_text
from meta_cluster.cli.errors_reference import REFERENCE
from meta_cluster.cli.host import best_keys, fingerprint
from meta_cluster.cli.main import VERBS, run
from meta_cluster.own_version import own_version
from operators.errors import ErrorCode, KokError

HEAVY = ("pydantic", "aiohttp", "kopf", "kubernetes", "cryptography", "asyncssh", "rich", "yaml", "jinja2", "asyncio")
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIBxP7QkzF3Nq2m0F9k0n8mV1y0q8Yl4nXo8tQm0cJd1e"


@pytest.mark.parametrize("words", [["version", "--client"], ["--help"], ["get", "--help"], ["lab", "--help"], ["nonsense"]], ids=" ".join)
def test_should_load_nothing_heavy_before_there_is_work(words: list[str]) -> None:
    code = f"import sys; from meta_cluster.cli.main import run; run({words!r}); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4])
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "no such command 'nonsense'"),
        (["get"], "missing argument 'KIND'"),
        (["get", "--nonsense"], "no such option"),
        (["get", "machnes"], "did you mean machines?"),
        (["get", "foo"], "one of clusters, "),
        (["gte", "clusters"], "no such command 'gte'\n  do    did you mean kok get?"),
        (["rollout", "pasue", "x"], "did you mean kok rollout pause?"),
        (["get", "cluster/demo", "pool"], "pool: KIND/NAME and other forms cannot be mixed"),
        (["why", "cluster"], "one kind and one name are wanted"),
        (["why", "node", "demo-1"], "kok why machine NAME"),
        (["get", "clusters,machnes"], "did you mean machines?"),
        (["get", "clusters,machines", "-w"], "-w follows one kind"),
        (["history", "rollout/october", "-n", "demo"], "a FleetRollout is in no namespace"),
        (["get", "clusters", "-o", "xml"], "one of wide, json, yaml, name"),
        (["describe", "cluster", "demo", "-o", "bogus"], "-o bogus: unknown output format"),
        (["why", "cluster", "demo", "-o", "name"], "one of json, yaml"),
        (["lab", "status", "-o", "name"], "one of wide, json, yaml"),
        (["lab", "host", "list", "-o", "bogus"], "one of wide, json, yaml, name"),
        (["lab", "host", "kill", "demo-1", "-o", "bogus"], "-o bogus: unknown output format"),
        (["assets", "list", "-o", "bogus"], "one of wide, json, yaml, name"),
        (["explain", "HostKeyChangd"], "did you mean HostKeyChanged?"),
        (["meta", "rebuild-ledger", "--as-group", "kok:break-glass", "--yes"], "--as-group needs --as"),
        (["completion", "tcsh"], "one of bash, zsh, fish"),
        (["get", "clusters", "--kubeconfig", "/no/such/file"], "/no/such/file"),
    ],
)
def test_should_exit_with_1_and_say_what_and_what_to_do(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert told.err.startswith("error: ")
    assert "\n  do    " in told.err
    assert "\n  code  Usage" in told.err


def test_should_say_its_version_as_other_commands_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"kok {own_version()}\n"


@pytest.mark.parametrize("group", ["", "meta", "lab", "lab host", "assets", "host"])
def test_should_not_cut_what_its_verbs_do(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*group.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert "..." not in told.replace("[ARGS]...", "")
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c\n  d", "it is no YAML: line 1, column 5: mapping values are not allowed"),
        ("", "it is empty"),
        ("- a", "it is no kubeconfig"),
        ("contexts: []", "it has no contexts"),
        ("contexts: [{name: one, context: {}}, {name: two, context: {}}]", "names no current context; it has: one, two"),
        ("current-context: one\ncontexts: [{name: one, context: {cluster: lost}}]", "it has no cluster named 'lost'"),
    ],
)
def test_should_tell_on_one_line_what_is_wrong_with_a_kubeconfig(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(text)
    assert run(["get", "clusters", "--kubeconfig", str(tmp_path / "config")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert says in lines[0]
    assert [line.split()[0] for line in lines] in (["error:", "why", "do", "code"], ["error:", "do", "code"])


@pytest.mark.parametrize(("words", "holds"), [([], "upgrade"), (["meta"], "install")])
def test_should_show_help_where_words_are_missing_as_kubectl_does(capsys: pytest.CaptureFixture[str], words: list[str], holds: str) -> None:
    assert run(words) == 0
    said = capsys.readouterr()
    assert holds in said.out
    assert not said.err


@pytest.mark.parametrize("verb", VERBS)
def test_should_show_examples_in_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in _commands(verb):
        assert run([*words, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Example" in text, words
        assert f"kok {' '.join(words)}" in text.split("Example", 1)[1], words


def _commands(verb: str) -> list[list[str]]:
    hosts = ("list", "add", "reboot", "kill", "start", "reinstall", "partition", "heal", "exec", "remove")
    groups = {
        "lab": ("up", "down", "status", "kubeconfig", *(f"host {each}" for each in hosts)),
        "assets": ("ensure", "pin", "publish", "list", "verify"),
        "meta": ("install", "uninstall", "status", "rebuild-ledger"),
        "host": ("scan",),
        "budget": ("explain", "freeze", "unfreeze", "close", "settle"),
        "rollout": ("list", "status", "pause", "resume", "approve", "abort", "undo", "history"),
    }
    return [[verb, *word.split()] for word in groups[verb]] if verb in groups else [[verb]]


@pytest.mark.parametrize(("typed", "offered"), [("kok ge", "get"), ("kok rollout st", "status"), ("kok nonsense", "")])
def test_should_complete_what_is_typed(typed: str, offered: str) -> None:
    """As bash asks: the shell's script calls kok itself with the words so far."""
    asked = {"_KOK_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    kok = Path(sys.executable).with_name("kok")
    done = subprocess.run([kok], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=False)
    assert offered in done.stdout.split() or (not offered and not done.stdout.split())


def test_should_print_a_script_for_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "bash"]) == 0
    assert "_KOK_COMPLETE" in capsys.readouterr().out


def test_should_tell_errors_in_four_lines() -> None:
    error = KokError(ErrorCode.EtcdMembersEven, "Cluster demo/demo: spec.etcd.members: 2 is not allowed", "set 1, 3 or 5")
    assert error_text(error).splitlines() == [
        "error: Cluster demo/demo: spec.etcd.members: 2 is not allowed",
        "  why   an even number of members tolerates no more failures than one member fewer",
        "  do    set 1, 3 or 5",
        "  code  EtcdMembersEven   (kok explain EtcdMembersEven)",
    ]


def test_should_explain_every_code() -> None:
    assert set(REFERENCE) == set(ErrorCode), "operators/errors.py and meta_cluster/cli/errors_reference.py differ"
    assert all(entry.meaning and entry.remedy for code, entry in REFERENCE.items() if code is not ErrorCode.Usage)


def test_should_explain_a_code_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "hostkeychanged"]) == 0
    assert capsys.readouterr().out.startswith("HostKeyChanged\n  means  ")


def test_should_take_the_strongest_host_key() -> None:
    lines = f"# 10.0.0.1:22 SSH-2.0\n10.0.0.1 ssh-rsa AAAAB3\n10.0.0.1 ssh-ed25519 {KEY}\n"
    assert best_keys(lines) == [f"ssh-ed25519 {KEY}"]
    assert best_keys(lines, every=True) == [f"ssh-ed25519 {KEY}", "ssh-rsa AAAAB3"]
    assert best_keys("") == []


def test_should_print_fingerprints_as_openssh_does(tmp_path: Path) -> None:
    public = tmp_path / "key.pub"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    theirs = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout.split()[1]
    assert fingerprint(public.read_text()) == theirs


def test_should_rewrite_progress_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.tell("one")
    progress.rewrite("waiting for a")
    progress.rewrite("waiting for " + "b" * 500)
    progress.tell("two")
    told = capsys.readouterr().err
    lines = told.split("\r\x1b[2K")
    assert lines[0] == "one\nwaiting for a"
    assert lines[1].endswith("…")
    assert lines[2] == "two\n"


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"lab", "meta", "assets", "host", "version"}))
def test_should_show_examples_with_every_verbs_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"kok {verb}" in capsys.readouterr().out.partition("Example")[2]


def test_should_say_that_a_kubeconfig_is_a_credential(capsys: pytest.CaptureFixture[str]) -> None:
    run(["kubeconfig", "--help"])
    told = capsys.readouterr().out
    assert "It is a credential" in told
    assert "umask 077" in told


def test_should_say_what_stays_of_a_lab_that_was_interrupted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(wanted: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("meta_cluster.lab.lifecycle.up", interrupted)
    assert run(["lab", "up"]) == 130
    told = capsys.readouterr().err
    for words in ("what was made stays", "kok lab status", "go on      kok lab up", "take away  kok lab down"):
        assert words in told

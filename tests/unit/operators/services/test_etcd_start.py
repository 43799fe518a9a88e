"""When a member begins an etcd, joins one, goes on, or refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from operators.domain.plane.etcd_observed import NO_DATA
from operators.services import etcd_start
from operators.services.etcd_start import Record, Refused, Start, configuration, has_data, read_record, read_start

MEMBERS = {"demo-etcd-0": "zero", "demo-etcd-1": "one", "demo-etcd-2": "two"}
LATER = {"demo-etcd-3": "three", "demo-etcd-4": "four"}
ALL = "demo-etcd-0=https://zero:2380,demo-etcd-1=https://one:2380,demo-etcd-2=https://two:2380"
BORN = Record("first", (), ())


def start(name: str = "demo-etcd-1", *, record: Record | None = None, has_data: bool = False) -> Start:
    return Start(name, {"data-dir": "/data", "log-level": "info"}, MEMBERS | LATER, 3, "first", record, has_data)


@pytest.mark.parametrize("with_data", [False, True])
def test_should_begin_a_new_etcd_while_there_is_no_record(with_data: bool) -> None:
    config = configuration(start(has_data=with_data))

    assert config == {
        "data-dir": "/data",
        "log-level": "info",
        "name": "demo-etcd-1",
        "initial-advertise-peer-urls": "https://one:2380",
        "advertise-client-urls": "https://one:2379",
        "initial-cluster": ALL,
        "initial-cluster-state": "new",
        "initial-cluster-token": "first",
    }


def test_should_just_go_on_with_its_data() -> None:
    config = configuration(start(record=BORN, has_data=True))

    assert config["initial-cluster-state"] == "existing"


def test_should_refuse_to_begin_anew_without_data() -> None:
    with pytest.raises(Refused) as caught:
        configuration(start(record=BORN))

    assert "demo-etcd-1 has no data, but this etcd has existed" in str(caught.value)


def test_should_refuse_also_when_another_member_was_added() -> None:
    with pytest.raises(Refused):
        configuration(start(record=Record("first", ("demo-etcd-2",), ())))


def test_should_join_when_it_was_added() -> None:
    members = ("demo-etcd-0=https://zero:2380", "demo-etcd-1=https://one:2380")

    config = configuration(start(record=Record("restored", ("demo-etcd-1",), members)))

    assert config["initial-cluster-state"] == "existing"
    assert config["initial-cluster"] == ",".join(members)
    assert config["initial-cluster-token"] == "restored"


def test_should_not_begin_an_etcd_together_with_those_that_come_later() -> None:
    with pytest.raises(Refused, match="demo-etcd-3 is not among the 3 members that begin"):
        configuration(start("demo-etcd-3"))


def test_should_join_later_than_the_first() -> None:
    members = (*ALL.split(","), "demo-etcd-3=https://three:2380")

    config = configuration(start("demo-etcd-3", record=Record("first", ("demo-etcd-3",), members)))

    assert config["initial-cluster"] == ",".join(members)


def test_should_refuse_a_name_that_is_no_member() -> None:
    with pytest.raises(Refused, match="demo-etcd-7 is not one of the members"):
        configuration(start("demo-etcd-7"))


def test_should_see_a_write_ahead_log_as_data(tmp_path: Path) -> None:
    assert not has_data(tmp_path)
    (tmp_path / "member" / "wal").mkdir(parents=True)
    assert not has_data(tmp_path)
    (tmp_path / "member" / "wal" / "0000000000000000-0000000000000000.wal").touch()
    assert has_data(tmp_path)


def record_folder(folder: Path, **files: str) -> Path:
    for name, content in {"clusterID": "c0ffee", "token": "first", "added": "[]", "members": "[]", **files}.items():
        (folder / name).write_text(content)
    return folder


def test_should_take_an_empty_folder_for_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "not-mounted") is None


@pytest.mark.parametrize(("name", "content"), [("added", "not json"), ("members", ""), ("token", " ")])
def test_should_refuse_when_the_record_cannot_be_read(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(Refused, match="record"):
        read_record(record_folder(tmp_path, **{name: content}))


def environment(folder: Path) -> dict[str, str]:
    (folder / "record").mkdir()
    return {
        "KOK_ETCD_NAME": "demo-etcd-0",
        "KOK_ETCD_CONFIG": json.dumps({"data-dir": str(folder / "data")}),
        "KOK_ETCD_MEMBERS": json.dumps(MEMBERS),
        "KOK_ETCD_INITIAL": "1",
        "KOK_ETCD_TOKEN": "first",
        "KOK_ETCD_RECORD": str(folder / "record"),
        "KOK_ETCD_OUTPUT": str(folder / "etcd.json"),
    }


@pytest.mark.parametrize("name", ["KOK_ETCD_NAME", "KOK_ETCD_CONFIG", "KOK_ETCD_INITIAL", "KOK_ETCD_TOKEN", "KOK_ETCD_RECORD"])
def test_should_name_a_setting_that_is_missing(tmp_path: Path, name: str) -> None:
    settings = {key: value for key, value in environment(tmp_path).items() if key != name}

    with pytest.raises(Refused, match=name):
        read_start(settings)


def test_should_run_as_a_process_and_write_the_file(tmp_path: Path) -> None:
    done = run(environment(tmp_path))

    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "etcd.json").read_text())["initial-cluster-state"] == "new"
    assert not (tmp_path / "etcd.partial").exists()


def test_should_end_with_one_sentence_when_it_refuses(tmp_path: Path) -> None:
    settings = environment(tmp_path)
    record_folder(tmp_path / "record")

    done = run(settings)

    assert done.returncode == etcd_start.NO_DATA == NO_DATA
    assert done.stderr.startswith("demo-etcd-0 has no data, but this etcd has existed")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "etcd.json").exists()


@pytest.mark.parametrize("module", ["operators.services.etcd_start", "operators.services.etcd_wait"])
def test_should_import_nothing_but_the_standard_library(module: str) -> None:
    script = f"import sys, {module}; print([m for m in sys.modules if m.partition('.')[0] in ('cryptography', 'pydantic', 'yaml', 'jinja2', 'asyncio')])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def run(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operators.services.etcd_start"]
    return subprocess.run(command, env=settings | {"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=30)

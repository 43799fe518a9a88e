"""What the Python on a host does when artifacts are staged: cut at any point, damaged, full, foreign. In a folder in the place of the host's own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only what is root's counts in a host's store")
MODULES = Path(__file__).resolve().parents[3] / "playbooks" / "module_utils"
OWNER = {"claim_uid": "c1", "cluster": "demo", "pool": "workers", "epoch": 3}


class Host:
    """A host below a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from kok_host import cache, observe, owner, staging  # type: ignore[import-not-found]

        self.root, self.cache, self.staging = root, cache, staging
        self.store, self.sent, self.note = root / "cache/sha256", root / "cache/staging", root / "cache/staged.json"
        self.records = root / "packages"
        places = {
            "CACHE": root / "cache", "STORE": self.store, "STAGED": self.note, "FOLDER": self.sent, "OWNER": root / "owner.json",
            "RECORDS": self.records, "LOCK": root,
        }  # fmt: skip
        for module in (cache, observe, owner, staging):
            for name, path in places.items():
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, str(path))
        for folder in (self.store, self.records):
            folder.mkdir(parents=True)
        (root / "owner.json").write_text(json.dumps(OWNER))

    def begin(self, *contents: bytes, keep: tuple[bytes, ...] | None = None, **changes: Any) -> dict[str, Any]:
        """Phase Begin for artifacts with these contents."""
        data = self.data(*contents, keep=keep) | changes
        return dict(self.staging.begin(data))

    def data(self, *contents: bytes, keep: tuple[bytes, ...] | None = None) -> dict[str, Any]:
        artifacts = [{"name": each.decode()[:9], "sha256": digest(each), "method": "Push", "url": None} for each in contents]
        kept = [digest(each) for each in (contents if keep is None else keep)]
        return {"owner": OWNER, "artifacts": artifacts, "keep": kept, "sizes": {digest(each): len(each) for each in contents}}

    def send(self, *contents: bytes) -> None:
        for each in contents:
            (self.sent / digest(each)).write_bytes(each)

    def stage(self, *contents: bytes) -> None:
        """All of it, as a whole run does."""
        lacking = self.begin(*contents)["send"]
        self.send(*(each for each in contents if digest(each) in lacking))
        self.staging.end(self.data(*contents))

    def has(self) -> set[str]:
        return {path.name for path in self.store.iterdir()}

    def noted(self) -> set[str]:
        return set(json.loads(self.note.read_text())) if self.note.exists() else set()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.syspath_prepend(str(MODULES))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=40 << 30, free=20 << 30))
    return Host(tmp_path, monkeypatch)


def test_should_take_in_what_was_sent_note_it_and_do_nothing_the_second_time(host: Host) -> None:
    assert host.begin(b"one", b"two")["send"] == [digest(each) for each in sorted((b"one", b"two"), key=digest)]
    host.send(b"one", b"two")
    assert host.staging.end(host.data(b"one", b"two"))["changed"]
    assert host.has() == host.noted() == {digest(b"one"), digest(b"two")}
    before = [path.stat().st_ctime_ns for path in (host.note, *host.store.iterdir())]
    assert host.begin(b"one", b"two") == {"changed": False, "changes": [], "send": []}
    assert [path.stat().st_ctime_ns for path in (host.note, *host.store.iterdir())] == before


def test_should_take_in_what_a_cut_run_sent_whole_and_nothing_else(host: Host) -> None:
    host.begin(b"one", b"two")
    host.send(b"one", b"nobody's")
    (host.sent / digest(b"two")).write_bytes(b"tw")
    (host.store / f".staged-{digest(b'two')}").write_bytes(b"t")
    again = host.begin(b"one", b"two")
    assert (again["changes"], again["send"]) == (["artifact one"], [digest(b"two")])
    assert host.has() == {digest(b"one")}
    assert list(host.sent.iterdir()) == []


def test_should_not_end_well_when_something_arrived_cut(host: Host) -> None:
    host.begin(b"one")
    (host.sent / digest(b"one")).write_bytes(b"on")
    with pytest.raises(Exception, match=r"artifact one \([0-9a-f]{12}\) was not sent whole"):
        host.staging.end(host.data(b"one"))
    assert host.has() == set()


def test_should_forget_no_file_when_it_is_killed_between_note_and_file(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.begin(b"one")
    host.send(b"one")

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(host.staging.cache, "stored", killed)
        with pytest.raises(Killed):
            host.staging.end(host.data(b"one"))
    assert host.noted() == {digest(b"one")}
    assert host.begin(b"one")["send"] == []
    assert host.has() == {digest(b"one")}
    host.begin(keep=())
    assert (host.has(), host.noted()) == (set(), set())


def test_should_take_out_only_what_was_staged_is_not_installed_and_is_not_wanted(host: Host) -> None:
    host.stage(b"wanted", b"unwanted", b"installed")
    (host.store / digest(b"other")).write_bytes(b"other")
    record = {"component": "x", "artifacts": {"x": {"sha256": digest(b"installed")}}}
    (host.records / "x.json").write_text(json.dumps(record))
    assert host.begin(keep=(b"wanted",))["changes"] == [f"staged artifact {digest(b'unwanted')[:12]}"]
    assert host.has() == {digest(b"wanted"), digest(b"installed"), digest(b"other")}
    assert host.noted() == {digest(b"wanted")}


def test_should_send_again_what_was_damaged(host: Host) -> None:
    host.stage(b"one")
    (host.store / digest(b"one")).write_bytes(b"0ne")
    assert host.cache.lacks([digest(b"one")]) == [digest(b"one")]
    assert host.has() == set()


def test_should_notice_a_store_that_goes_by_names(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control of the one above."""
    host.stage(b"one")
    (host.store / digest(b"one")).write_bytes(b"0ne")
    monkeypatch.setattr(host.cache, "intact", lambda digest: (host.store / digest).exists())
    assert host.cache.lacks([digest(b"one")]) == []


@pytest.mark.parametrize(
    ("total", "free", "fits"),
    [(20, 3.2, True), (20, 2.9, False), (1000, 11, True), (1000, 9, False), (2, 0.6, True), (2, 0.5, False)],
)
def test_should_leave_pods_their_disk(host: Host, monkeypatch: pytest.MonkeyPatch, total: float, free: float, fits: bool) -> None:
    """15% of a disk, between 512 MiB and 10 GiB. In GiB."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=int(total * 2**30), free=int(free * 2**30)))
    if fits:
        assert host.begin(b"one")["send"]
        return
    with pytest.raises(Exception, match=r"disk full: 0 MiB to be staged in .*/cache and \d+ MiB that stay free for pods"):
        host.begin(b"one")
    assert host.has() == set()


def test_should_fetch_by_itself_what_it_shall_fetch_and_keep_nothing_that_is_something_else(host: Host) -> None:
    source = host.root / "source"
    source.write_bytes(b"one")
    artifact = {"name": "one", "sha256": digest(b"one"), "method": "Url", "url": f"file://{source}"}
    assert host.begin(b"one", artifacts=[artifact]) == {"changed": True, "changes": ["artifact one"], "send": []}
    assert host.has() == {digest(b"one")}
    other = artifact | {"sha256": digest(b"two")}
    with pytest.raises(Exception, match="does not have the digest"):
        host.begin(b"two", artifacts=[other])
    assert digest(b"two") not in host.has()
    assert list(host.sent.iterdir()) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "this host was given back, or is not taken yet"),
        ({**OWNER, "claim_uid": "c2"}, "this host belongs to pool workers of cluster demo"),
        ({**OWNER, "epoch": 4}, r"a newer operator \(epoch 4\)"),
    ],
)
def test_should_stage_nothing_on_a_host_that_is_not_ours(host: Host, found: dict[str, Any] | None, words: str) -> None:
    path = host.root / "owner.json"
    path.unlink() if found is None else path.write_text(json.dumps(found))
    with pytest.raises(Exception, match=words):
        host.begin(b"one")
    assert not host.sent.exists()
    assert host.has() == set()


def test_should_copy_what_the_login_user_sent_before_it_is_judged(host: Host) -> None:
    host.begin(b"one", b"two")
    host.send(b"one")
    (host.sent / digest(b"two")).write_bytes(b"2wo")
    for path in host.sent.iterdir():
        os.chown(path, 1, 1)
    again = host.begin(b"one", b"two")
    assert (again["changes"], again["send"]) == (["artifact one"], [digest(b"two")])
    stored = (host.store / digest(b"one")).stat()
    assert (stored.st_uid, oct(stored.st_mode & 0o777)) == (0, "0o644")
    assert host.has() == {digest(b"one")}

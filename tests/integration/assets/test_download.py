"""Official files from a release server on loopback: whole, cut, missing, wrong, slow to come back, wanted by two at once."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from meta_cluster.assets.builder import Builder
from meta_cluster.assets.download import Downloads, published_pins
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.oci import architecture
from meta_cluster.assets.official import PINS, OfficialFile, Release, Way, etcd_file, kind_file, kubernetes_archive, kubernetes_file
from meta_cluster.assets.recipe import Asset, Inputs, Lane, key_from
from meta_cluster.assets.table import table
from operators.errors import ErrorCode, KokError
from tests.integration.api_server import free_port

BODY = b"\x7fELF kubelet " + bytes(range(256)) * 8000
KUBELET = kubernetes_file("kubelet", "1.35.4")


@dataclass
class Recipe:
    """Building, as the fallback."""

    lane: Lane = Lane.COMPILE
    made: int = 0

    def key(self, inputs: Inputs) -> str:
        return key_from(inputs, "built")

    def make(self, inputs: Inputs, work: Path) -> Path:
        self.made += 1
        (work / "out").write_bytes(b"built")
        return work / "out"


@dataclass
class Server:
    """A release server. `cuts`: after how many bytes each of the first answers ends; `errors`: what each of the first answers with instead."""

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            span = self.headers.get("Range", "")
            server.asked.append((self.path, span))
            body = server.files.get(self.path.lstrip("/"))
            if server.errors or body is None:
                self.send_error(server.errors.pop(0) if server.errors else 404)
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and server.ranges else 0
            if start > len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            cut = server.cuts.pop(0) if server.cuts else len(body)
            self.wfile.write(body[start : start + cut])

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server({KUBELET.path: BODY})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(found))
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{listener.server_address[1]}"
    for release in Release:
        monkeypatch.setenv(release.value, found.url)
    yield found
    listener.shutdown()
    listener.server_close()


def pinned(root: Path, **pins: bytes) -> None:
    """Pin files of that content."""
    table = {KUBELET.path: BODY, **pins}
    (root / "pins.json").write_text(json.dumps({path: hashlib.sha256(body).hexdigest() for path, body in table.items()}))


def builder(
    root: Path, recipe: Recipe, *, way: Way = Way.Auto, official: OfficialFile | None = KUBELET, names: tuple[str, ...] = ("kubelet",)
) -> Builder:
    made = Builder(AssetsFolder(root), {name: Asset(name, "1", f"bin/{name}", recipe, official=official) for name in names}, way=way)
    made.downloads.pause = lambda _: None
    return made


def test_should_download_what_is_pinned_and_say_so(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    pinned(tmp_path)
    recipe = Recipe()
    path = builder(tmp_path, recipe).ensure(["kubelet"])["kubelet"]
    assert (path.read_bytes(), path.stat().st_mode & 0o777, recipe.made) == (BODY, 0o755, 0)
    assert AssetsFolder(tmp_path).index()["kubelet"].how == "downloaded"
    said = capsys.readouterr().err
    assert f"kubelet: downloading {server.url}/{KUBELET.path}" in said
    assert "assets: 1 downloaded" in said
    builder(tmp_path, recipe).ensure(["kubelet"])
    assert (len(server.asked), recipe.made) == (1, 0)


@pytest.mark.parametrize(("way", "pins"), [(Way.Build, True), (Way.Auto, False)], ids=["forbidden", "not pinned"])
def test_should_ask_nobody_when_it_may_not(tmp_path: Path, server: Server, way: Way, pins: bool) -> None:
    if pins:
        pinned(tmp_path)
    recipe = Recipe()
    assert builder(tmp_path, recipe, way=way).ensure(["kubelet"])["kubelet"].read_bytes() == b"built"
    assert (server.asked, recipe.made) == ([], 1)


def test_should_take_nothing_with_a_wrong_checksum(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    pinned(tmp_path)
    server.files[KUBELET.path] = BODY + b"!"
    recipe = Recipe()
    assert builder(tmp_path, recipe).ensure(["kubelet"])["kubelet"].read_bytes() == b"built"
    assert "pinned is" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "downloads").iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize("fault", ["checksum", "missing", "no server", "not pinned"])
def test_should_fail_rather_than_build_where_building_is_forbidden(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault != "not pinned":
        pinned(tmp_path)
    if fault == "checksum":
        server.files[KUBELET.path] = b"other"
    elif fault == "missing":
        server.files.clear()
    elif fault == "no server":
        monkeypatch.setenv(Release.Kubernetes.value, f"http://127.0.0.1:{free_port()}")
    recipe = Recipe()
    with pytest.raises(KokError) as raised:
        builder(tmp_path, recipe, way=Way.Download).ensure(["kubelet"])
    assert (raised.value.code, recipe.made) == (ErrorCode.AssetUnavailable, 0)
    assert {"checksum": "pinned is", "missing": "HTTP 404", "no server": "refused", "not pinned": "no digest is pinned"}[
        fault
    ] in raised.value.message
    assert not (tmp_path / "bin" / "kubelet").exists()


def test_should_go_on_where_a_download_was_cut(tmp_path: Path, server: Server) -> None:
    pinned(tmp_path)
    server.cuts = [100_000, 200_000]
    recipe = Recipe()
    assert builder(tmp_path, recipe).ensure(["kubelet"])["kubelet"].read_bytes() == BODY
    assert [span for _, span in server.asked] == ["", "bytes=100000-", "bytes=300000-"]
    assert recipe.made == 0


def test_should_go_on_in_the_next_run(tmp_path: Path, server: Server) -> None:
    pinned(tmp_path)
    server.cuts = [1000] * 3
    recipe = Recipe()
    with pytest.raises(KokError, match="cut after 3000 of"):
        builder(tmp_path, recipe, way=Way.Download).ensure(["kubelet"])
    assert builder(tmp_path, recipe, way=Way.Download).ensure(["kubelet"])["kubelet"].read_bytes() == BODY
    assert server.asked[-1][1] == "bytes=3000-"


@pytest.mark.parametrize("left", [b"\x7fELF", b"x" * (len(BODY) + 5)], ids=["server without ranges", "longer than the file"])
def test_should_begin_anew_where_it_cannot_go_on(tmp_path: Path, server: Server, left: bytes) -> None:
    pinned(tmp_path)
    server.ranges = len(left) > 10
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{hashlib.sha256(BODY).hexdigest()}.part").write_bytes(left)
    assert builder(tmp_path, Recipe()).ensure(["kubelet"])["kubelet"].read_bytes() == BODY


def test_should_try_again_what_a_server_fails_for_a_while(tmp_path: Path, server: Server) -> None:
    pinned(tmp_path)
    server.errors = [503, 429]
    assert builder(tmp_path, Recipe()).ensure(["kubelet"])["kubelet"].read_bytes() == BODY
    assert len(server.asked) == 3


def test_should_not_ask_twice_for_what_is_not_there(tmp_path: Path, server: Server) -> None:
    pinned(tmp_path)
    server.files.clear()
    recipe = Recipe()
    assert builder(tmp_path, recipe).ensure(["kubelet"])["kubelet"].read_bytes() == b"built"
    assert (len(server.asked), recipe.made) == (1, 1)


def test_should_ask_a_server_that_is_not_there_only_once_in_a_run(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned(tmp_path)
    tries: list[str] = []
    monkeypatch.setattr(
        "meta_cluster.assets.download.urllib.request.urlopen",
        lambda *a, **k: tries.append("x") or (_ for _ in ()).throw(OSError("no route")),
    )
    recipe = Recipe()
    builder(tmp_path, recipe, names=("a", "b", "c")).ensure(["a", "b", "c"])
    assert (len(tries), recipe.made) == (3, 3)


def test_should_take_a_program_out_of_a_release_archive(tmp_path: Path, server: Server) -> None:
    file = etcd_file("etcdctl", "3.6.8")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(file.member)
        entry.size = len(BODY)
        archive.addfile(entry, io.BytesIO(BODY))
    server.files[file.path] = packed.getvalue()
    pinned(tmp_path, **{file.path: packed.getvalue()})
    assert builder(tmp_path, Recipe(), official=file).ensure(["kubelet"])["kubelet"].read_bytes() == BODY
    missing = etcd_file("etcdutl", "3.6.8")
    recipe = Recipe()
    assert builder(tmp_path, recipe, official=missing, names=("etcdutl",)).ensure(["etcdutl"])["etcdutl"].read_bytes() == b"built"


def server_archive(**programs: bytes) -> bytes:
    """As Kubernetes' server archive is laid out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, body in programs.items():
            entry = tarfile.TarInfo(f"kubernetes/server/bin/{name}")
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return packed.getvalue()


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "another digest"])
def test_should_take_what_a_changelog_vouches_for_out_of_one_archive(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str], is_whole: bool
) -> None:
    """The sha512 of the archive is all that Kubernetes' repository tells; one download serves every program in it."""
    archives = {name: kubernetes_archive(name, "1.35.4") for name in ("kubelet", "kubeadm")}
    packed = server_archive(kubelet=BODY, kubeadm=b"adm")
    path = archives["kubelet"].path
    server.files = {path: packed if is_whole else packed + b"!"}
    recipe = Recipe()
    assets = {name: Asset(name, "1", f"bin/{name}", recipe, official=KUBELET, archive=file) for name, file in archives.items()}
    made = Builder(AssetsFolder(tmp_path), assets, way=Way.Auto)
    made.downloads = Downloads(made.folder, Way.Auto, {path: hashlib.sha512(packed).hexdigest()}, pause=lambda _: None)
    found = {name: path.read_bytes() for name, path in made.ensure(["kubelet", "kubeadm"]).items()}
    assert found == ({"kubelet": BODY, "kubeadm": b"adm"} if is_whole else dict.fromkeys(archives, b"built"))
    assert [asked for asked, _ in server.asked] == [f"/{path}"]
    assert ("has the sha512" in capsys.readouterr().err) is not is_whole


def test_should_ship_pins_of_files_that_something_is_made_from() -> None:
    """A pin of nothing would look like safety and be none; and every Kubernetes that is built by default can be downloaded instead."""
    asked = {file.path for asset in table().values() for file in asset.releases}
    shipped = json.loads(PINS.read_text())
    assert shipped
    if architecture() == "amd64":
        assert shipped.keys() <= asked
    by_default = [asset for asset in table().values() if asset.archive and not asset.on_demand]
    assert {asset.archive.path.replace(architecture(), "amd64") for asset in by_default if asset.archive} <= shipped.keys()


def test_should_download_once_for_many_at_once(tmp_path: Path, server: Server) -> None:
    pinned(tmp_path)
    recipe = Recipe()
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: builder(tmp_path, recipe).ensure(["kubelet"])["kubelet"], range(6)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert (len(server.asked), recipe.made) == (1, 0)


def test_should_get_another_file_for_another_pin(tmp_path: Path, server: Server) -> None:
    pinned(tmp_path)
    builder(tmp_path, Recipe()).ensure(["kubelet"])
    server.files[KUBELET.path] = b"a rebuilt release"
    pinned(tmp_path, **{KUBELET.path: b"a rebuilt release"})
    assert builder(tmp_path, Recipe()).ensure(["kubelet"])["kubelet"].read_bytes() == b"a rebuilt release"


def test_should_refuse_a_pin_that_is_no_digest(tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text(json.dumps({KUBELET.path: "sha256:1234"}))
    with pytest.raises(KokError, match=r"kubelet: 'sha256:1234' is no sha256 or sha512"):
        builder(tmp_path, Recipe())


def test_should_refuse_a_release_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned(tmp_path)
    monkeypatch.setenv(Release.Kubernetes.value, "mirror.example.org")
    with pytest.raises(KokError, match=r"KOK_KUBERNETES_RELEASES: 'mirror.example.org' is no address"):
        builder(tmp_path, Recipe()).ensure(["kubelet"])


def test_should_pin_what_the_servers_publish_in_each_of_their_forms(tmp_path: Path, server: Server) -> None:
    files = (KUBELET, etcd_file("etcd", "3.6.8"), kind_file("0.30.0"))
    digests = [hashlib.sha256(file.path.encode()).hexdigest() for file in files]
    server.files |= {
        KUBELET.sums: digests[0].encode(),
        files[1].sums: f"{'0' * 64}  other.tar.gz\n{digests[1]}  {files[1].path.rsplit('/', 1)[1]}\n".encode(),
        files[2].sums: f"{digests[2]}  kind-linux-amd64\n".encode() if "amd64" in files[2].path else digests[2].encode(),
    }
    assert published_pins(files) == {file.path: digest for file, digest in zip(files, digests, strict=True)}
    del server.files[files[1].sums]
    with pytest.raises(KokError, match="SHA256SUMS"):
        published_pins(files)


def test_should_know_the_official_file_of_every_kubernetes_and_etcd_program() -> None:
    named = {name: asset.official.path for name, asset in table().items() if asset.official}
    assert {name.rsplit("-", 1)[0] for name in named} >= {
        "kube-apiserver",
        "kubelet",
        "kubeadm",
        "kubectl",
        "etcd",
        "etcdctl",
        "etcdutl",
        "kind",
    }
    assert "release/v1.35.4/bin/linux/" in named["kubelet-1.35.4"]


def test_should_notice_a_file_that_is_not_verified(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without the comparison a wrong file would be taken."""
    pinned(tmp_path)
    server.files[KUBELET.path] = b"somebody else's"
    wrong = hashlib.sha256(BODY).hexdigest()
    monkeypatch.setattr("meta_cluster.assets.download.digest_of", lambda _, like: like)
    folder = AssetsFolder(tmp_path)
    (tmp_path / "work").mkdir()
    found = Downloads(folder, Way.Auto, {KUBELET.path: wrong}).fetch("kubelet", (KUBELET,), tmp_path / "work")
    assert found is not None
    assert found[0].read_bytes() == b"somebody else's"

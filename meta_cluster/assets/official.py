"""Which release file an asset is, upstream's or kok's own, where it is published, and which digest it must have. Fetches nothing; data and small readers.

A file without a pinned digest is never downloaded: a checksum that comes from the same server as the file proves nothing about the server.
Pins are in `pins.json` beside this module, and those that `kok assets pin` wrote in `$KOK_ASSETS/pins.json`; the committed one wins. The
committed ones of Kubernetes are the sha512 of its server archives, as the project's own repository has them (CHANGELOG/CHANGELOG-1.x.md,
"Downloads for v1.x.y"), so the server that has the files is not the one that vouches for them.
Called by the table (which file), the builder (which way) and `kok assets`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from meta_cluster.assets.oci import architecture
from meta_cluster.own_version import own_version
from operators.errors import ErrorCode, KokError

PINS = Path(str(files("meta_cluster.assets") / "pins.json"))
SHA256 = re.compile(r"[0-9a-f]{64}")
PIN = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")
"""A sha256 or a sha512."""
WAY_VARIABLE = "KOK_ASSETS_WAY"


class Way(StrEnum):
    """How what is not in the folder may be had."""

    Auto = "auto"
    """Official download where it is pinned and answers; else built."""
    Download = "download"
    """Official download only, for what upstream publishes; a failure is an error."""
    Build = "build"
    """Built from modules; nothing is asked of release servers."""


class Release(StrEnum):
    """Who publishes release files; the value names the variable that points elsewhere, for a mirror."""

    Kubernetes = "KOK_KUBERNETES_RELEASES"
    Etcd = "KOK_ETCD_RELEASES"
    Kind = "KOK_KIND_RELEASES"
    Kok = "KOK_RELEASES"
    """What a release of kok would otherwise build or pack (`kok assets publish`); nowhere unless the variable says where."""


UPSTREAM: Mapping[Release, str] = {
    Release.Kubernetes: "https://dl.k8s.io",
    Release.Etcd: "https://github.com/etcd-io/etcd/releases/download",
    Release.Kind: "https://kind.sigs.k8s.io/dl",
    Release.Kok: "",
}


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """One file of a release. `member` is the program inside it if it is an archive; `sums` is where upstream publishes its sha256, or empty for
    a file that is pinned by hand only.
    """

    release: Release
    path: str
    sums: str
    member: str = ""

    @property
    def url(self) -> str:
        """Where it is published, or where the release's variable says."""
        return f"{base_of(self.release)}/{self.path}"

    @property
    def sums_url(self) -> str:
        """Where its sha256 is published."""
        return f"{base_of(self.release)}/{self.sums}"


def base_of(release: Release) -> str:
    """The address of a release server. Raises KokError Usage for a variable that holds no http(s) address."""
    base = os.environ.get(release.value) or UPSTREAM[release]
    if urlsplit(base).scheme not in ("https", "http") or not urlsplit(base).hostname:
        raise KokError(ErrorCode.Usage, f"{release.value}: {base!r} is no address", "set it to https://HOST/PATH, or unset it")
    return base.rstrip("/")


def has_server(release: Release) -> bool:
    """Whether anybody can be asked for its files."""
    return bool(os.environ.get(release.value) or UPSTREAM[release])


def kubernetes_file(name: str, version: str) -> OfficialFile:
    """A Kubernetes program: /release/v1.35.4/bin/linux/amd64/kubelet, with kubelet.sha256 beside it."""
    path = f"release/v{version}/bin/linux/{architecture()}/{name}"
    return OfficialFile(Release.Kubernetes, path, f"{path}.sha256")


def kubernetes_archive(name: str, version: str) -> OfficialFile:
    """The same program in the archive of all server programs, several hundred MB; its digest stands in Kubernetes' own CHANGELOG."""
    return OfficialFile(
        Release.Kubernetes, f"v{version}/kubernetes-server-linux-{architecture()}.tar.gz", "", f"kubernetes/server/bin/{name}"
    )


def etcd_file(name: str, version: str) -> OfficialFile:
    """A program of etcd's release archive."""
    folder = f"etcd-v{version}-linux-{architecture()}"
    return OfficialFile(Release.Etcd, f"v{version}/{folder}.tar.gz", f"v{version}/SHA256SUMS", f"{folder}/{name}")


def kind_file(version: str) -> OfficialFile:
    """kind itself."""
    path = f"v{version}/kind-linux-{architecture()}"
    return OfficialFile(Release.Kind, path, f"{path}.sha256sum")


def own_file(name: str) -> OfficialFile:
    """An asset as a release of kok publishes it: one file per asset in a folder of its version, so that any web server will do."""
    folder = f"v{own_version()}"
    return OfficialFile(Release.Kok, f"{folder}/{name}-linux-{architecture()}", f"{folder}/SHA256SUMS")


def way_of(word: str = "") -> Way:
    """The way that was asked for: `word`, else KOK_ASSETS_WAY, else Auto. Raises KokError Usage for another word."""
    asked = word or os.environ.get(WAY_VARIABLE) or Way.Auto.value
    try:
        return Way(asked)
    except ValueError:
        where = "--way" if word else WAY_VARIABLE
        raise KokError(ErrorCode.Usage, f"{where}: {asked!r} is no way to get assets", f"one of {', '.join(Way)}") from None


def read_pins(root: Path) -> dict[str, str]:
    """Path of a release file -> sha256 or sha512. Raises KokError Usage for a file that is no table of digests: a broken pin must not pass as none."""
    pins: dict[str, str] = {}
    for path in (root / "pins.json", PINS):
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise KokError(ErrorCode.Usage, f"{path} is no JSON: {error}", "kok assets pin writes it anew") from error
        for name, digest in found.items():
            if not isinstance(digest, str) or not PIN.fullmatch(digest):
                raise KokError(ErrorCode.Usage, f"{path}: {name}: {digest!r} is no sha256 or sha512", "kok assets pin writes it anew")
        pins |= found
    return pins


def add_pins(path: Path, pins: Mapping[str, str]) -> None:
    """Write these down beside those that stand there already. Raises KokError Usage where what stands there is no JSON."""
    try:
        before = json.loads(path.read_text())
    except FileNotFoundError:
        before = {}
    except ValueError as error:
        raise KokError(ErrorCode.Usage, f"{path} is no JSON: {error}", "delete it, then pin again") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**before, **pins}, indent=1, sort_keys=True) + "\n")


def releases_named(words: Collection[str]) -> tuple[Release, ...]:
    """The releases of these names; none means all that somebody publishes. Raises KokError Usage."""
    for word in words:
        if word not in [each.name.lower() for each in Release]:
            raise KokError(
                ErrorCode.Usage, f"--only: {word!r} publishes nothing", f"one of {', '.join(each.name.lower() for each in Release)}"
            )
    asked = tuple(each for each in Release if each.name.lower() in words) or tuple(filter(has_server, Release))
    for each in asked:
        if not has_server(each):
            raise KokError(
                ErrorCode.Usage, f"{each.value} is not set: nobody is known who has {each.name.lower()}'s files", "set it to an address"
            )
    return asked


def digest_in(listing: str, file_name: str) -> str | None:
    """The sha256 of a file in what upstream publishes: a bare digest, or lines of digest and name."""
    for line in listing.splitlines():
        words = line.split()
        if words and SHA256.fullmatch(words[0]) and (len(words) == 1 or words[-1].lstrip("*").rsplit("/", 1)[-1] == file_name):
            return words[0]
    return None

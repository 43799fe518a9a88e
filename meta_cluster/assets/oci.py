"""Writes container images as OCI archives: tar files that `ctr images import` and `docker load` both take. Runs nothing, fetches nothing.

The same input gives the same bytes: entries are sorted, times are zero, owners are root unless a layer was made elsewhere.
Layers are not compressed: they travel over a bridge, and packing them would cost more than it saves.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import stat
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meta_cluster.assets.folder import sha256_of

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class File:
    """One entry of a layer: exactly one of `content`, `source` or `link` says what it is; none means a folder."""

    content: bytes | None = None
    source: Path | None = None
    link: str | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its name, its layers as tar files from bottom to top, and the run configuration in OCI's own words.

    The lowest `elsewhere` layers are named but not carried: whoever imports the archive has them from another image.
    """

    name: str
    layers: tuple[Path, ...]
    config: Mapping[str, object] = field(default_factory=dict)
    elsewhere: int = 0


def architecture() -> str:
    """This machine's architecture as images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def write_layer(output: Path, files: Mapping[str, File]) -> Path:
    """Write a layer of the given paths (absolute, as seen in the container) with their parent folders."""
    with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(_with_parents(files)):
            _add(tar, path.lstrip("/"), files.get(path, File()))
    return output


def _with_parents(files: Mapping[str, File]) -> set[str]:
    paths = set(files)
    for path in files:
        paths.update(str(parent) for parent in Path(path).parents if str(parent) != "/")
    return paths


def _add(tar: tarfile.TarFile, name: str, file: File) -> None:
    entry = tarfile.TarInfo(name)
    if file.link is not None:
        entry.type, entry.linkname = tarfile.SYMTYPE, file.link
        tar.addfile(entry)
    elif file.source is not None:
        status = file.source.stat()
        entry.mode = file.mode or stat.S_IMODE(status.st_mode)
        entry.size = status.st_size
        with file.source.open("rb") as content:
            tar.addfile(entry, content)
    elif file.content is not None:
        entry.mode, entry.size = file.mode or 0o644, len(file.content)
        tar.addfile(entry, io.BytesIO(file.content))
    else:
        entry.type, entry.mode = tarfile.DIRTYPE, file.mode or 0o755
        tar.addfile(entry)


def tree(root: Path, *, below: str = "") -> dict[str, File]:
    """Every file, link and folder under `root` as layer entries under `below`; device nodes and sockets are left out."""
    entries: dict[str, File] = {}
    for path in root.rglob("*"):
        name = f"{below}/{path.relative_to(root)}"
        if path.is_symlink():
            entries[name] = File(link=str(path.readlink()))
        elif path.is_dir():
            entries[name] = File(mode=stat.S_IMODE(path.stat().st_mode))
        elif path.is_file():
            entries[name] = File(source=path)
    return entries


def write_archive(output: Path, images: Iterable[Image]) -> Path:
    """Write one archive of all images; a layer that several share is stored once."""
    blobs: dict[str, bytes | Path] = {}
    manifests, docker = [], []
    for image in images:
        descriptor, docker_entry = _image(image, blobs)
        manifests.append(descriptor)
        docker.append(docker_entry)
    with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, "oci-layout", File(content=b'{"imageLayoutVersion":"1.0.0"}'))
        _add(tar, "index.json", File(content=_json({"schemaVersion": 2, "manifests": manifests})))
        _add(tar, "manifest.json", File(content=_json(docker)))
        for digest in sorted(blobs):
            blob = blobs[digest]
            file = File(source=blob, mode=0o644) if isinstance(blob, Path) else File(content=blob)
            _add(tar, f"blobs/sha256/{digest}", file)
    return output


def _image(image: Image, blobs: dict[str, bytes | Path]) -> tuple[dict[str, object], dict[str, object]]:
    layers = []
    for position, layer in enumerate(image.layers):
        digest = sha256_of(layer)
        if position >= image.elsewhere:
            blobs[digest] = layer
        layers.append({"mediaType": LAYER_TYPE, "digest": f"sha256:{digest}", "size": layer.stat().st_size})
    config = _blob(CONFIG_TYPE, _config(image, [str(layer["digest"]) for layer in layers]), blobs)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers}
    descriptor = _blob(MANIFEST_TYPE, _json(manifest), blobs)
    tag = image.name.rsplit(":", 1)[1]
    annotations = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag}
    platform_of = {"architecture": architecture(), "os": "linux"}
    paths = [f"blobs/{str(layer['digest']).replace(':', '/')}" for layer in layers]
    docker: dict[str, object] = {"Config": f"blobs/{str(config['digest']).replace(':', '/')}", "RepoTags": [image.name], "Layers": paths}
    return {**descriptor, "annotations": annotations, "platform": platform_of}, docker


def _config(image: Image, diff_ids: list[str]) -> bytes:
    return _json(
        {"architecture": architecture(), "os": "linux", "config": image.config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    )


def _blob(media_type: str, content: bytes, blobs: dict[str, bytes | Path]) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def image_names(archive: Path) -> list[str]:
    """The names of the images in an archive."""
    with tarfile.open(archive) as tar:
        listing = tar.extractfile("manifest.json")
        assert listing is not None
        return [tag for entry in json.load(listing) for tag in entry["RepoTags"]]

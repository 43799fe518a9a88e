"""How each kind of artifact is installed and removed; a new kind is one more pair in INSTALL and REMOVE.

Install: (artifacts with the path of their content, folders) -> artifact name and what the record keeps of it, one after the other. Remove: what the
record kept of all artifacts of that kind. All of a kind at once, because distribution packages depend on each other.
"""

from __future__ import annotations

import json
import os
import posixpath
import stat
import tarfile
import time

from . import place
from .failure import Failure, attempt, must
from .observe import fingerprint, images_in_containerd, run

DPKG = ("dpkg", "--force-confold", "--force-confdef", "--force-downgrade")


def install_files(pairs, folders):
    """One file each."""
    for artifact, source in pairs:
        with open(source, "rb") as file:
            known = place.write(artifact["path"], place.blocks(file), artifact["mode"], folders)
        yield artifact["name"], {"files": {artifact["path"]: known}}


def install_archives(pairs, folders):
    """Every regular file of a tar archive, each replaced in one step so that a running plugin is never half written."""
    for artifact, source in pairs:
        with tarfile.open(source) as archive:
            yield artifact["name"], {"files": dict(unpacked(artifact, archive, folders))}


def unpacked(artifact, archive, folders):
    """Path and [digest, fingerprint] of each file of an archive, written on the way."""
    for member in archive:
        if member.isdir():
            continue
        name = posixpath.normpath(member.name)
        if not member.isfile() or name.startswith(("/", "..")):
            raise Failure(f"archive {artifact['name']}: {member.name} is no plain file below its folder")
        path = posixpath.join(artifact["path"], name)
        yield path, place.write(path, place.blocks(archive.extractfile(member)), f"{member.mode & 0o777:04o}", folders)


def remove_files(kept):
    """What files or archives put there."""
    for recorded in kept:
        for path in recorded.get("files", {}):
            place.remove(path)


def install_debs(pairs, folders):
    """Debian packages; configuration that is already there stays (kok wrote it)."""
    dpkg("--install", *(source for _, source in pairs))
    for artifact, source in pairs:
        name, version = must("dpkg-deb", "--show", "--showformat", "${Package} ${Version}", source).split()
        files = plain_files(must("dpkg-query", "-L", name).splitlines())
        yield artifact["name"], {"package": name, "version": version, "fingerprints": files}


def dpkg(*arguments):
    """dpkg, waiting for whoever holds its lock."""
    for _ in range(60):
        code, out = attempt(*DPKG, *arguments, env={"DEBIAN_FRONTEND": "noninteractive"})
        if code == 0:
            return
        if "lock" not in out:
            break
        time.sleep(1)
    said = [line.strip() for line in out.partition("Errors were encountered")[0].splitlines() if line.strip()]
    raise Failure(f"dpkg {arguments[0]}: {' '.join(said[-2:]) or f'exit code {code}'}")


def remove_debs(kept):
    """The packages with their configuration."""
    present = [recorded["package"] for recorded in kept if run("dpkg-query", "-W", recorded["package"])[0] == 0]
    if present:
        dpkg("--purge", *present)


def install_rpms(pairs, folders):
    """RPM packages."""
    must("rpm", "-U", "--replacepkgs", "--oldpackage", *(source for _, source in pairs), timeout=180)
    for artifact, source in pairs:
        name, version = must("rpm", "-qp", "--qf", "%{NAME} %{VERSION}-%{RELEASE}", source).split()
        files = plain_files(must("rpm", "-ql", name).splitlines())
        yield artifact["name"], {"package": name, "version": version, "fingerprints": files}


def remove_rpms(kept):
    """The packages."""
    present = [recorded["package"] for recorded in kept if run("rpm", "-q", recorded["package"])[0] == 0]
    if present:
        must("rpm", "-e", *present, timeout=180)


def plain_files(paths):
    """Fingerprints of a distribution package's own files. Configuration is left out: kok or a person may own it."""
    return {path: fingerprint(path) for path in paths if not path.startswith(("/etc/", "/usr/share/")) and is_plain(path)}


def is_plain(path):
    """A regular file, no link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def install_images(pairs, folders):
    """OCI archives into containerd, for pods (namespace k8s.io)."""
    for artifact, source in pairs:
        must("ctr", "-n", "k8s.io", "images", "import", source, timeout=300)
        names = image_names(source)
        missing = sorted(names - images_in_containerd())
        if missing:
            raise Failure(f"archive {artifact['name']} was imported, but containerd has no {missing[0]}")
        yield artifact["name"], {"images": sorted(names)}


def image_names(source):
    """Names that an OCI archive gives its images."""
    with tarfile.open(source) as archive:
        for member in archive:
            if posixpath.normpath(member.name) == "index.json":
                index = json.load(archive.extractfile(member))
                names = {m.get("annotations", {}).get("io.containerd.image.name", "") for m in index.get("manifests", ())}
                return names - {""}
    return set()


def remove_images(kept):
    """Nothing: they go with containerd's own data, or its garbage collection."""


INSTALL = {"Deb": install_debs, "Rpm": install_rpms, "Archive": install_archives, "File": install_files, "Image": install_images}
"""In this order within a package."""
REMOVE = {"Image": remove_images, "File": remove_files, "Archive": remove_files, "Deb": remove_debs, "Rpm": remove_rpms}


def remove_all(kept):
    """Removes artifacts by what the record kept of them."""
    for kind, remove in REMOVE.items():
        of_kind = [recorded for recorded in kept if recorded["as"] == kind]
        if of_kind:
            remove(of_kind)

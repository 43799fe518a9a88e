"""How each kind of artifact is installed and removed; a new kind is one more pair in INSTALL and REMOVE.

Install: (artifact, path of its content, folders) -> what the record keeps of it. Remove: what the record kept -> nothing.
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


def install_file(artifact, source, folders):
    """One file."""
    with open(source, "rb") as file:
        known = place.write(artifact["path"], place.blocks(file), artifact["mode"], folders)
    return {"files": {artifact["path"]: known}}


def install_archive(artifact, source, folders):
    """Every regular file of a tar archive, each replaced in one step so that a running plugin is never half written."""
    files = {}
    with tarfile.open(source) as archive:
        for member in archive:
            if member.isdir():
                continue
            name = posixpath.normpath(member.name)
            if not member.isfile() or name.startswith(("/", "..")):
                raise Failure("archive {}: {} is no plain file below its folder".format(artifact["name"], member.name))
            path = posixpath.join(artifact["path"], name)
            files[path] = place.write(path, place.blocks(archive.extractfile(member)), "%04o" % (member.mode & 0o777), folders)
    return {"files": files}


def remove_files(recorded):
    """What a file or an archive put there."""
    for path in recorded.get("files", {}):
        place.remove(path)


def install_deb(artifact, source, folders):
    """A Debian package; configuration that is already there stays (kok wrote it)."""
    name, version = must("dpkg-deb", "--show", "--showformat", "${Package} ${Version}", source).split()
    dpkg("--install", source)
    listed = must("dpkg-query", "-L", name).splitlines()
    return {"package": name, "version": version, "fingerprints": plain_files(listed)}


def dpkg(*arguments):
    """dpkg, waiting for whoever holds its lock."""
    for _ in range(60):
        code, out = attempt(*DPKG, *arguments, env={"DEBIAN_FRONTEND": "noninteractive"})
        if code == 0:
            return
        if "lock" not in out:
            break
        time.sleep(1)
    said = [line for line in out.splitlines() if line.strip() and not line.startswith((" ", "Errors were"))]
    raise Failure("dpkg {}: {}".format(arguments[0], said[-1] if said else f"exit code {code}"))


def remove_deb(recorded):
    """The package with its configuration."""
    code, _ = run("dpkg-query", "-W", recorded["package"])
    if code == 0:
        dpkg("--purge", recorded["package"])


def install_rpm(artifact, source, folders):
    """An RPM package."""
    name, version = must("rpm", "-qp", "--qf", "%{NAME} %{VERSION}-%{RELEASE}", source).split()
    must("rpm", "-U", "--replacepkgs", "--oldpackage", source, timeout=180)
    return {"package": name, "version": version, "fingerprints": plain_files(must("rpm", "-ql", name).splitlines())}


def remove_rpm(recorded):
    """The package."""
    code, _ = run("rpm", "-q", recorded["package"])
    if code == 0:
        must("rpm", "-e", recorded["package"], timeout=180)


def plain_files(paths):
    """Fingerprints of a distribution package's own files. Configuration is left out: kok or a person may own it."""
    return {path: fingerprint(path) for path in paths if not path.startswith(("/etc/", "/usr/share/")) and is_plain(path)}


def is_plain(path):
    """A regular file, no link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def install_image(artifact, source, folders):
    """An OCI archive into containerd, for pods (namespace k8s.io)."""
    must("ctr", "-n", "k8s.io", "images", "import", source, timeout=300)
    names = image_names(source)
    missing = sorted(names - images_in_containerd())
    if missing:
        raise Failure("archive {} was imported, but containerd has no {}".format(artifact["name"], missing[0]))
    return {"images": sorted(names)}


def image_names(source):
    """Names that an OCI archive gives its images."""
    with tarfile.open(source) as archive:
        for member in archive:
            if posixpath.normpath(member.name) == "index.json":
                index = json.load(archive.extractfile(member))
                names = {m.get("annotations", {}).get("io.containerd.image.name", "") for m in index.get("manifests", ())}
                return names - {""}
    return set()


def remove_images(recorded):
    """Nothing: they go with containerd's own data, or its garbage collection."""


INSTALL = {"File": install_file, "Archive": install_archive, "Deb": install_deb, "Rpm": install_rpm, "Image": install_image}
REMOVE = {"File": remove_files, "Archive": remove_files, "Deb": remove_deb, "Rpm": remove_rpm, "Image": remove_images}

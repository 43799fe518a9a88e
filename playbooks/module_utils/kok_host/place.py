"""Writing and removing files: whole or not at all, every folder that had to be made is noted, nothing is deleted through a mount."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile

from .failure import Failure, must
from .observe import fingerprint, read


def write(path, chunks, mode, folders):
    """Replaces `path` by `chunks` in one step and returns [digest, fingerprint]. Folders made on the way are appended to `folders`."""
    make_folder(os.path.dirname(path), folders)
    try:
        return _write(path, chunks, mode)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}") from None


def _write(path, chunks, mode):
    handle, temporary = tempfile.mkstemp(prefix=".kok-", dir=os.path.dirname(path))
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            os.fchmod(file.fileno(), int(mode, 8))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise
    return [digest.hexdigest(), fingerprint(path)]


def make_folder(path, folders):
    """Makes a folder and its parents."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o755)
        except OSError as error:
            raise Failure(f"folder {folder} cannot be made: {error.strerror or error}") from None
        folders.append(folder)


def blocks(file):
    """An open file in pieces."""
    return iter(lambda: file.read(1 << 20), b"")


def remove(path):
    """Removes one file or link; True when it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Failure(f"{path} cannot be removed: {error.strerror or error}") from None
    return True


def remove_folders(folders):
    """Removes those folders that are empty now, deepest first."""
    for folder in sorted(folders, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def mounts_below(path):
    """Mount points under a path, deepest first; not the path itself."""
    points = [line.split()[4].encode().decode("unicode_escape") for line in read("/proc/self/mountinfo").splitlines()]
    return sorted((point for point in points if point.startswith(path.rstrip("/") + "/")), key=len, reverse=True)


def purge(path):
    """Removes a file or a folder with all that is in it, after unmounting what is mounted below; refuses to delete through a mount.

    A folder that is itself a mount point is emptied and stays.
    """
    path = os.path.realpath(path)
    if not os.path.lexists(path):
        return False
    for point in mounts_below(path):
        with contextlib.suppress(Failure):
            must("umount", point, timeout=10)
    for point in mounts_below(path):
        must("umount", "-l", point, timeout=10)
    if mounts_below(path):
        raise Failure(f"{path} is not removed: {mounts_below(path)[0]} is still mounted")
    if not os.path.isdir(path):
        return remove(path)
    return empty(path) if os.path.ismount(path) else remove_tree(path)


def empty(path):
    """Removes everything in a folder; True when there was something."""
    entries = [os.path.join(path, name) for name in os.listdir(path)]
    for entry in entries:
        if os.path.isdir(entry) and not os.path.islink(entry):
            remove_tree(entry)
        else:
            remove(entry)
    return bool(entries)


def remove_tree(path):
    """Removes a folder."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise Failure(f"{path} cannot be removed: {error.strerror or error}") from None
    return True

"""The host's store of artifacts, by digest. What lies in it was verified when it came in and is verified again before it is used."""

from __future__ import annotations

import contextlib
import os
import shutil
import urllib.request

from . import place
from .failure import Failure
from .observe import STORE, sha256_of

CACHE = os.path.dirname(STORE)
INCOMING = CACHE + "/incoming"
RESERVE = 64 << 20
"""Bytes that stay free on the disk whatever is sent."""


def stored(digest):
    """Path of an artifact in the store."""
    return f"{STORE}/{digest}"


def lacks(digests):
    """Those that are not in the store as they should be. Read in full: what was staged days ago may have been damaged since, and is sent again."""
    return sorted(digest for digest in set(digests) if not intact(digest))


def intact(digest):
    """Whether the store has exactly this content; a damaged file is removed."""
    path = stored(digest)
    if not os.path.lexists(path):
        return False
    if os.lstat(path).st_uid == 0 and sha256_of(path) == digest:
        return True
    place.remove(path)
    return False


def prepare(sizes):
    """Makes room for artifacts of these sizes (digest -> bytes), in a folder the login user may write to."""
    place.make_folder(STORE, [])
    open_to_login(INCOMING)
    place.empty(INCOMING)
    needed, free = sum(sizes.values()) + RESERVE, shutil.disk_usage(CACHE).free
    if free < needed:
        raise Failure(f"disk full: {CACHE} needs {needed >> 20} MiB for artifacts, {free >> 20} MiB are free")


def open_to_login(folder):
    """A folder that the login user, and nobody else, may write to."""
    place.make_folder(folder, [])
    os.chown(folder, int(os.environ.get("SUDO_UID", "0")), int(os.environ.get("SUDO_GID", "0")))
    os.chmod(folder, 0o700)


def artifact_file(artifact):
    """Path of an artifact's verified content; takes it in when it has just been sent, fetches it when the host shall fetch it."""
    path, sent = stored(artifact["sha256"]), f"{INCOMING}/{artifact['sha256']}"
    if os.path.isfile(path):
        return verified(artifact, path)
    if artifact["method"] == "Url":
        fetch(artifact["url"], sent)
    if not os.path.isfile(sent):
        raise Failure(f"artifact {artifact['name']} ({artifact['sha256'][:12]}) was not sent")
    return accepted(artifact, sent, path)


def verified(artifact, path):
    """A file of the store, read in full: disks and people change things."""
    if os.stat(path).st_uid or sha256_of(path) != artifact["sha256"]:
        place.remove(path)
        raise Failure(f"artifact {artifact['name']} in {path} is damaged; it was removed and is sent again")
    return path


def accepted(artifact, sent, path):
    """Takes a file that was sent into the store. What another user can still write to is copied first; what is only root's is moved."""
    if os.lstat(sent).st_uid:
        part = stored("." + artifact["sha256"])
        shutil.copyfile(sent, part)
        place.remove(sent)
        sent = part
    digest = sha256_of(sent)
    if digest != artifact["sha256"]:
        place.remove(sent)
        raise Failure(f"artifact {artifact['name']} arrived with digest {digest[:12]} instead of {artifact['sha256'][:12]}")
    os.chmod(sent, 0o644)
    os.replace(sent, path)
    return path


def fetch(url, target):
    """Gets a file; its digest is judged by `accepted`."""
    place.make_folder(INCOMING, [])
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, open(target, "wb") as file:  # noqa: S310 - the model admits http and https only
            shutil.copyfileobj(answer, file, 1 << 20)
    except OSError as error:
        place.remove(target)
        raise Failure(f"{url} cannot be fetched: {error}") from None


def forget(digests):
    """Drops artifacts that no record names any more."""
    for digest in digests:
        with contextlib.suppress(Failure):
            place.remove(stored(digest))

"""Artifacts that lie in the host's store before anybody wants them installed: taken in by digest, noted, and taken out when nobody wants them any more.

Nothing that is installed or runs is touched, and no lock is held while something is sent, fetched or read, so that a play that applies never waits
for this one. What a cut run has sent in full is taken in by the next. Called by the module kok_stage.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import urllib.request

from . import cache, owner, place
from .failure import Failure
from .observe import OWNER, STAGED, STORE, listing, read_json, sha256_of
from .package import digests_in_use

FOLDER = cache.CACHE + "/staging"
PART = ".staged-"
"""Begins the name of a copy that is not whole yet."""
RESERVE_SHARE, LEAST, MOST = 15, 512 << 20, 10 << 30
"""What stays free whatever is staged: percent of the disk (below that a kubelet begins to remove images and to evict pods), and bytes, at least and at most."""


def begin(data):
    """What changed, and the digests that have to be sent."""
    with held(data["owner"]):
        place.make_folder(STORE, [])
        cache.open_to_login(FOLDER)
        for name in listing(STORE):
            if name.startswith(PART):
                place.remove(cache.stored(name))
        changes = taken_out(set(data["keep"]))
    changes += take_in(data)
    lacking = {artifact["sha256"]: artifact for artifact in data["artifacts"]}
    lacking = {digest: lacking[digest] for digest in cache.lacks(lacking)}
    room_for(sum(data["sizes"].get(digest, 0) for digest in lacking))
    for digest, artifact in lacking.items():
        if artifact["method"] == "Url":
            fetch(artifact["url"], f"{FOLDER}/{digest}")
            changes.append(accept(data["owner"], artifact) or mismatch(artifact))
    return {"changed": bool(changes), "changes": changes, "send": [d for d, a in lacking.items() if a["method"] == "Push"]}


def end(data):
    """Takes in what was sent; a failure if anything is still missing then."""
    changes = take_in(data)
    for artifact in data["artifacts"]:
        if not os.path.isfile(cache.stored(artifact["sha256"])):
            raise Failure("artifact {} ({}) was not sent whole".format(artifact["name"], artifact["sha256"][:12]))
    return {"changed": bool(changes), "changes": changes}


@contextlib.contextmanager
def held(expected):
    """The host's lock, as its owner. A host that was cleaned meanwhile has none, and gets nothing."""
    with owner.locked():
        owner.fence(expected)
        if read_json(OWNER).get("claim_uid") != expected["claim_uid"]:
            raise Failure("this host was given back, or is not taken yet: nothing is staged on it")
        yield


def room_for(size):
    """Fails when pods would feel it."""
    disk = shutil.disk_usage(cache.CACHE)
    reserve = max(LEAST, min(disk.total * RESERVE_SHARE // 100, MOST))
    if size and disk.free < size + reserve:
        raise Failure(
            f"disk full: {size >> 20} MiB to be staged in {cache.CACHE} and {reserve >> 20} MiB that stay free for pods, but only {disk.free >> 20} MiB are free"
        )


def take_in(data):
    """Every file that arrived whole; what did not, and what nobody wants, goes."""
    wanted = {artifact["sha256"]: artifact for artifact in data["artifacts"]}
    changes = []
    for name in listing(FOLDER):
        path = f"{FOLDER}/{name}"
        if name in wanted and not os.path.islink(path) and (os.lstat(path).st_uid or sha256_of(path) == name):
            changes.append(accept(data["owner"], wanted[name]))
        else:
            place.remove(path)
    return [change for change in changes if change]


def accept(expected, artifact):
    """One file into the store. What the login user could still write to is copied first; the note comes before the file, so none is forgotten."""
    digest = artifact["sha256"]
    sent = f"{FOLDER}/{digest}"
    if os.lstat(sent).st_uid:
        copy = cache.stored(PART + digest)
        shutil.copyfile(sent, copy)
        place.remove(sent)
        sent = copy
    if sha256_of(sent) != digest:
        place.remove(sent)
        return ""
    os.chmod(sent, 0o644)
    flush(sent)
    with held(expected):
        note(sorted({*read_json(STAGED), digest}))
        os.replace(sent, cache.stored(digest))
    return "artifact " + artifact["name"]


def mismatch(artifact):
    """What a host fetched by itself is something else."""
    raise Failure("{} does not have the digest {}".format(artifact["url"], artifact["sha256"][:12]))


def flush(path):
    """To the disk: a name in the store must never stand for a cut file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def note(digests):
    """Writes down what was staged; no note when it is nothing."""
    if not digests:
        place.remove(STAGED)
    elif sorted(read_json(STAGED)) != digests:
        place.write(STAGED, [owner.dumped(dict.fromkeys(digests, True))], "0644", [])


def taken_out(keep):
    """Removes what was staged, is not installed and is not wanted any more; what is installed is no longer noted as staged."""
    staged, used = set(read_json(STAGED)), digests_in_use()
    gone = sorted(digest for digest in staged - used - keep if os.path.lexists(cache.stored(digest)))
    for digest in gone:
        place.remove(cache.stored(digest))
    note(sorted((staged & keep) - used))
    return ["staged artifact " + digest[:12] for digest in gone]


def fetch(url, target):
    """Gets a file in pieces, and stops before pods would feel it."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, open(target, "wb") as file:  # noqa: S310 - the model admits http and https only
            for block in iter(lambda: answer.read(1 << 20), b""):
                room_for(len(block))
                file.write(block)
    except OSError as error:
        place.remove(target)
        raise Failure(f"{url} cannot be fetched: {error}") from None
    except Failure:
        place.remove(target)
        raise

"""Whose host this is: one lock, one owner file, one record per component. Everything that changes a host passes the fence first."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time

from . import place
from .failure import Failure
from .observe import OWNER, RECORDS, UNIT_FILES, listing, read_json, record_path

LOCK = UNIT_FILES
"""A folder that every host has: locking it leaves no file behind."""


@contextlib.contextmanager
def locked(seconds=60):
    """One change at a time on a host, also when a play of a dead operator is still ending."""
    folder = os.open(LOCK, os.O_RDONLY | os.O_DIRECTORY)
    until = time.monotonic() + seconds
    try:
        while not _lock(folder):
            if time.monotonic() > until:
                raise Failure(f"another play has been changing this host for more than {seconds}s")
            time.sleep(0.2)
        yield
    finally:
        os.close(folder)


def _lock(folder):
    """Whether the lock is ours now."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def fence(owner):
    """Refuses who does not own the host, and who has been succeeded by a newer operator."""
    found = read_json(OWNER)
    if not found:
        return
    if found.get("claim_uid") != owner["claim_uid"]:
        raise Failure(
            "this host belongs to pool {} of cluster {} (claim {} in {}); remove it from that pool first".format(
                found.get("pool", "?"), found.get("cluster", "?"), found.get("claim_uid", "?"), OWNER
            )
        )
    if int(found.get("epoch", 0)) > owner["epoch"]:
        raise Failure("a newer operator (epoch {}) acts on this host; this one has epoch {}".format(found["epoch"], owner["epoch"]))


def take(owner):
    """Passes the fence and writes the owner file; True when it changed."""
    fence(owner)
    if read_json(OWNER) == owner:
        return False
    place.write(OWNER, [dumped(owner)], "0644", [])
    return True


def dumped(data):
    """JSON as it lies on the host: readable, the same for the same data."""
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def save_record(record):
    """Writes what was (or is about to be) put on the host for one component."""
    place.write(record_path(record["component"]), [dumped(record)], "0644", [])


def load_record(component):
    """The record of a component; empty when there is none."""
    return read_json(record_path(component))


def all_records():
    """Every record, the component that is removed first first."""
    records = [read_json(os.path.join(RECORDS, name)) for name in listing(RECORDS) if name.endswith(".json")]
    return sorted((record for record in records if record.get("component")), key=lambda r: -int(r.get("order", 0)))

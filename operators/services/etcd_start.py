"""Writes the configuration an etcd member starts with, or refuses. Runs as the init container of every member, before etcd itself.

Decides one thing: whether this member begins a new etcd, joins one, or just goes on with its data. An etcd that has existed (there is a
bootstrap record) is never begun anew by an empty member: that would silently replace a cluster's data by nothing.
Imports the standard library only, because its start is part of a plane's start. Settings come from the environment (KOK_ETCD_*), see `Start`.
Exit code 0 and a file, or 1 (3 for an empty disk) and one sentence on stderr, which the kubelet shows as the pod's message (`kok why`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Config = dict[str, Any]
NO_DATA = 3
"""Exit code of a member that has lost its disk; read from the pod's status by `operators.domain.plane.etcd_observed`."""


class Refused(Exception):
    """This member must not start; the text says why and what will happen."""

    exit_code = 1


class Empty(Refused):
    """It must not start because its disk is empty. The exit code tells the operator, which replaces the member."""

    exit_code = NO_DATA


@dataclass(frozen=True, slots=True)
class Record:
    """The bootstrap record: this etcd has existed. Format: `operators.domain.plane.desired_bootstrap`."""

    token: str
    added: tuple[str, ...]
    """Members that were added to the running etcd and may therefore start empty."""
    members: tuple[str, ...]
    """`name=peer URL` of every member as the running etcd lists them, for one that joins."""


@dataclass(frozen=True, slots=True)
class Start:
    """What one member knows of itself when it starts."""

    name: str
    """KOK_ETCD_NAME: the pod's name."""
    config: Config
    """KOK_ETCD_CONFIG: everything of the configuration that is the same for all members, as JSON."""
    members: Mapping[str, str]
    """KOK_ETCD_MEMBERS: name -> host of every member that there may be, by ordinal, as JSON."""
    initial: int
    """KOK_ETCD_INITIAL: how many of them begin a new etcd."""
    token: str
    """KOK_ETCD_TOKEN: initial-cluster-token of a new etcd."""
    record: Record | None
    """From the mounted ConfigMap; None when there is none."""
    has_data: bool
    """Whether a write-ahead log lies in the data directory."""


def configuration(start: Start) -> Config:
    """The whole configuration of this member. Raises Refused."""
    if start.name not in start.members:
        raise Refused(f"{start.name} is not one of the members {', '.join(start.members)}")
    host = start.members[start.name]
    own = {
        "name": start.name,
        "initial-advertise-peer-urls": f"https://{host}:2380",
        "advertise-client-urls": f"https://{host}:2379",
    }
    return {**start.config, **own, **_birth(start)}


def _birth(start: Start) -> Config:
    """The initial-cluster settings. etcd reads them only when the member has no data, but wants them well-formed."""
    peers = tuple(f"{name}=https://{host}:2380" for name, host in start.members.items())[: start.initial]
    if start.record is None:
        if not any(peer.startswith(f"{start.name}=") for peer in peers):
            raise Refused(f"{start.name} is not among the {start.initial} members that begin this etcd: kok adds it when they have")
        return _initial("new", start.token, peers)
    if start.has_data:
        return _initial("existing", start.record.token, peers)
    if start.name not in start.record.added:
        raise Empty(
            f"{start.name} has no data, but this etcd has existed: an empty member never starts it anew."
            " kok replaces the member while a quorum of the others is alive; otherwise restore a backup"
        )
    return _initial("existing", start.record.token, start.record.members or peers)


def _initial(state: str, token: str, peers: tuple[str, ...]) -> Config:
    return {"initial-cluster": ",".join(peers), "initial-cluster-state": state, "initial-cluster-token": token}


def read_record(folder: Path) -> Record | None:
    """The record in a mounted ConfigMap; an optional one that does not exist is an empty folder. Raises Refused when it cannot be read."""
    try:
        if not (folder / "clusterID").exists():
            return None
        token = (folder / "token").read_text().strip()
        added, members = (tuple(json.loads((folder / part).read_text())) for part in ("added", "members"))
    except (OSError, ValueError, TypeError) as error:
        raise Refused(f"the bootstrap record cannot be read ({error}), so it is not known whether this etcd has existed") from error
    if not token:
        raise Refused("the bootstrap record has no token, so it cannot be obeyed")
    return Record(token, added, members)


def has_data(data_dir: Path) -> bool:
    """Whether a member has lived here: its write-ahead log is the first thing it writes for good."""
    return any((data_dir / "member" / "wal").glob("*.wal"))


def read_start(environment: Mapping[str, str]) -> Start:
    """Everything from the environment and the mounted folders. Raises Refused, naming the variable that is missing."""
    try:
        config = json.loads(environment["KOK_ETCD_CONFIG"])
        return Start(
            name=environment["KOK_ETCD_NAME"],
            config=config,
            members=json.loads(environment["KOK_ETCD_MEMBERS"]),
            initial=int(environment["KOK_ETCD_INITIAL"]),
            token=environment["KOK_ETCD_TOKEN"],
            record=read_record(Path(environment["KOK_ETCD_RECORD"])),
            has_data=has_data(Path(config["data-dir"])),
        )
    except KeyError as error:
        raise Refused(f"{error.args[0]} is not set") from error
    except ValueError as error:
        raise Refused(f"KOK_ETCD_CONFIG or KOK_ETCD_MEMBERS is not JSON, or KOK_ETCD_INITIAL no number: {error}") from error


def main() -> int:
    """Write the file that etcd reads, atomically."""
    try:
        config = configuration(read_start(os.environ))
        target = Path(os.environ["KOK_ETCD_OUTPUT"])
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(config, indent=1) + "\n")
        partial.replace(target)
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return refusal.exit_code
    sys.stdout.write(f"{config['name']} starts with initial-cluster-state {config['initial-cluster-state']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""systemd units: their files, whether they run, and restarting those whose files changed."""

from __future__ import annotations

import time

from . import place
from .failure import Failure, last_line, must
from .observe import UNIT_FILES, run, shown, units_report

STEADY_SECONDS = 2.0
"""How long a unit that was just started has to stay up. What its own configuration kills ends sooner, and is active for a moment after every restart."""
RUN = ("ActiveState", "InvocationID")
"""What tells one run of a unit from the next."""


def write_units(units, folders):
    """Unit files that kok owns; the caller reloads systemd."""
    for unit in units:
        place.write("{}/{}".format(UNIT_FILES, unit["name"]), [unit["content"].encode()], "0644", folders)


def reload_systemd():
    """Makes systemd read changed unit files."""
    must("systemctl", "daemon-reload", timeout=30)


def settle(units, restart):
    """Brings each unit into its wanted state. `restart`: unit name -> restart or reload-or-restart, for those whose files changed."""
    report = units_report(units)
    started = []
    for unit in units:
        state = report[unit["name"]]
        if not unit["running"]:
            must("systemctl", "disable", "--now", unit["name"])
            continue
        if not state["enabled"]:
            must("systemctl", "enable", unit["name"])
        if unit["name"] in restart or not state["active"]:
            act(restart.get(unit["name"], "start") if state["active"] else "restart", unit["name"])
            started.append(unit["name"])
    for name in sorted(set(restart) - {unit["name"] for unit in units}):
        act("try-" + restart[name] if restart[name] == "restart" else restart[name], name)
    stay_up(started)


def stay_up(names):
    """Raises Failure if one of these units ends, or is started anew by systemd, within STEADY_SECONDS; its own last words say why."""
    if not names:
        return
    before = shown(names, *RUN)
    time.sleep(STEADY_SECONDS)
    after = shown(names, *RUN)
    for name in names:
        state = after[name].get("ActiveState", "")
        if state != "active" or after[name] != before[name]:
            _, journal = run("journalctl", "_SYSTEMD_UNIT=" + name, "-n", "5", "-o", "cat", "--no-pager")
            raise Failure(f"{name} does not stay up: {last_line(journal) or state}")


def act(verb, name):
    """start, restart, ...; when it fails, the unit's own last line says why."""
    try:
        must("systemctl", verb, name, timeout=100)
    except Failure as failure:
        _, journal = run("journalctl", "-u", name, "-n", "1", "-o", "cat", "--no-pager")
        raise Failure(f"{name} does not {verb}: {last_line(journal) or failure}") from None


def remove_units(recorded):
    """Stops units and removes the files kok wrote. `recorded`: name -> whether the unit file is kok's."""
    for name in recorded:
        run("systemctl", "disable", "--now", name, timeout=100)
    owned = [name for name, ours in recorded.items() if ours]
    for name in owned:
        place.remove(f"{UNIT_FILES}/{name}")
        run("systemctl", "reset-failed", name)
    if owned:
        reload_systemd()

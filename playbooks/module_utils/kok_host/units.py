"""systemd units: their files, whether they run, and restarting those whose files changed."""

from __future__ import annotations

from . import place
from .failure import Failure, last_line, must
from .observe import UNIT_FILES, run, units_report


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
    for unit in units:
        state = report[unit["name"]]
        if not unit["running"]:
            must("systemctl", "disable", "--now", unit["name"])
            continue
        if not state["enabled"]:
            must("systemctl", "enable", unit["name"])
        if unit["name"] in restart or not state["active"]:
            act(restart.get(unit["name"], "start") if state["active"] else "restart", unit["name"])
    for name in sorted(set(restart) - {unit["name"] for unit in units}):
        act("try-" + restart[name] if restart[name] == "restart" else restart[name], name)


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

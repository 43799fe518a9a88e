"""Makes one package true on this host, and nothing else: what differs is done, in an order in which a cut at any point is finished by the next run.

Before the first change the record says `Applying` and lists everything that is about to be there, so that cleaning finds it; after the last one it says
`Applied`. Called by the module kok_package.
"""

from __future__ import annotations

from . import cache, kernel, methods, place, units
from .failure import Failure
from .observe import APPLIED, artifact_present, live_sysctl, package_report
from .owner import all_records, load_record, save_record

APPLYING = "Applying"
VERBS = {"None": "", "Reload": "reload-or-restart"}
"""What an effect means for a unit; every other effect restarts it."""


def apply(wanted):
    """What was changed, as short texts; empty when all was right."""
    record = load_record(wanted["component"])
    todo = differences(wanted, record)
    stale = leftovers(record, wanted)
    if not any(todo.values()) and not any(stale.values()) and settled(record, wanted):
        return []
    restart = restarts(wanted, todo, record)
    record = begun(wanted, record, restart)
    save_record(record)
    change(wanted, todo, record, stale)
    units.settle(wanted["units"], restart)
    install(images_missing(todo, record), record)
    drop(stale, record)
    finish(wanted, record)
    return [f"{what} {name}" for what, names in told(todo, stale) for name in names] or ["record"]


def images_missing(todo, record):
    """Images that are still missing now that units run: a stopped containerd could not say what it has."""
    images = [artifact for artifact in todo["artifacts"] if artifact["as"] == "Image"]
    return [image for image in images if not artifact_present(image, record["artifacts"].get(image["name"], {}))]


def differences(wanted, record):
    """What is not as wanted, by kind."""
    report = package_report(wanted, record)
    unit = {u["name"]: report["units"][u["name"]] for u in wanted["units"]}
    return {
        "artifacts": [a for a in wanted["artifacts"] if not report["artifacts"][a["name"]]],
        "files": [f for f in wanted["files"] if not file_matches(f, report["files"][f["path"]])],
        "unit_files": [u for u in wanted["units"] if unit[u["name"]]["sha256"] != u["sha256"]],
        "unit_states": [u for u in wanted["units"] if not state_matches(u, unit[u["name"]])],
        "sysctls": sorted(key for key, value in wanted["sysctls"].items() if report["sysctls"][key] != value),
        "modules": sorted(name for name, loaded in report["kernel_modules"].items() if not loaded),
        "version": [wanted["version"]] if wanted["observe"] and report["version"] != wanted["version"] else [],
    }


def file_matches(wanted, found):
    """Content and permissions; of a file that is written only once, its presence."""
    if wanted["once"]:
        return bool(found["sha256"])
    return found["sha256"] == wanted["sha256"] and found["mode"] == wanted["mode"]


def state_matches(unit, found):
    """Running and enabled, or neither."""
    return found["active"] == unit["running"] and found["enabled"] == unit["running"]


def settled(record, wanted):
    """The last apply was completed, and it was of this package."""
    return record.get("state") == APPLIED and record.get("name") == wanted["name"]


def restarts(wanted, todo, record):
    """Unit -> how it is made to read what changed. What a cut run still owed is owed now."""
    changed = [a for a in todo["artifacts"] if a["as"] != "Image"] or todo["version"]
    owed = dict(record.get("restart", {}))
    for file in todo["files"]:
        owed[file["notify"]] = verb_of(wanted["effect"]["configuration"])
    owed.update({unit["name"]: verb_of(wanted["effect"]["configuration"]) for unit in todo["unit_files"]})
    if changed:
        owed.update({unit["name"]: verb_of(wanted["effect"]["version"]) for unit in wanted["units"] if unit["running"]})
    return {name: verb for name, verb in owed.items() if name and verb}


def verb_of(effect):
    """restart, reload-or-restart, or nothing."""
    return VERBS.get(effect, "restart")


def begun(wanted, record, restart):
    """The record of a package that is being applied: everything the old one lists and everything that is about to come."""
    before = {key: live_sysctl(key) for key in wanted["sysctls"]}
    before.update(record.get("sysctls_before", {}))
    files = set(record.get("files", [])) | {file["path"] for file in wanted["files"]}
    unit_files = dict(record.get("units", {}), **{unit["name"]: bool(unit["sha256"]) for unit in wanted["units"]})
    return {
        "state": APPLYING,
        "name": wanted["name"],
        "component": wanted["component"],
        "version": wanted["version"],
        "order": wanted["order"],
        "artifacts": dict(record.get("artifacts", {})),
        "files": sorted(files),
        "units": unit_files,
        "sysctls_set": dict(record.get("sysctls_set", {}), **wanted["sysctls"]),
        "sysctls_before": before,
        "modules": sorted(set(record.get("modules", [])) | set(wanted["kernel_modules"])),
        "folders": list(record.get("folders", [])),
        "purge": sorted(set(record.get("purge", [])) | set(wanted["remove"]["purge"])),
        "commands": list(wanted["remove"]["commands"]),
        "restart": restart,
        "superseded": sorted(set(record.get("superseded", [])) | {kept["sha256"] for kept in record.get("artifacts", {}).values()}),
    }


def change(wanted, todo, record, stale):
    """Everything that has to be there before units run."""
    component, folders = wanted["component"], record["folders"]
    if todo["modules"] or stale["modules"]:
        kernel.load_modules(component, wanted["kernel_modules"], folders)
    if todo["sysctls"] or stale["sysctls"]:
        kernel.set_sysctls(component, wanted["sysctls"], folders)
    for file in todo["files"]:
        place.write(file["path"], [file["content"].encode()], file["mode"], folders)
    install([a for a in todo["artifacts"] if a["as"] != "Image"], record)
    if todo["unit_files"]:
        units.write_units([u for u in todo["unit_files"] if u["sha256"]], folders)
        units.reload_systemd()


def install(artifacts, record):
    """Artifacts, kind by kind; each is in the record as soon as it is on the host."""
    for kind, method in methods.INSTALL.items():
        pairs = [(artifact, cache.artifact_file(artifact)) for artifact in artifacts if artifact["as"] == kind]
        digests = {artifact["name"]: artifact["sha256"] for artifact, _ in pairs}
        for name, kept in method(pairs, record["folders"]) if pairs else ():
            replaced = record["artifacts"].get(name, {}).get("files", {})
            for path in set(replaced) - set(kept.get("files", {})):
                place.remove(path)
            record["artifacts"][name] = dict(kept, sha256=digests[name], **{"as": kind})
            save_record(record)


def leftovers(record, wanted):
    """What an older version of the package put there and this one does not."""
    names = {a["name"] for a in wanted["artifacts"]}
    return {
        "files": sorted(set(record.get("files", [])) - {file["path"] for file in wanted["files"]}),
        "units": {name: ours for name, ours in record.get("units", {}).items() if name not in {u["name"] for u in wanted["units"]}},
        "artifacts": {name: kept for name, kept in record.get("artifacts", {}).items() if name not in names},
        "sysctls": {k: v for k, v in record.get("sysctls_before", {}).items() if k not in wanted["sysctls"]},
        "modules": sorted(set(record.get("modules", [])) - set(wanted["kernel_modules"])),
    }


def drop(stale, record):
    """Removes leftovers; a module stays loaded until the next boot, somebody else may use it by now."""
    kernel.put_back(stale["sysctls"], record["sysctls_set"])
    units.remove_units(stale["units"])
    methods.remove_all(stale["artifacts"].values())
    for path in stale["files"]:
        place.remove(path)


def finish(wanted, record):
    """Checks that the host is right now, and only then says so."""
    wrong = first_difference(differences(wanted, record))
    if wrong:
        raise Failure(wrong)
    names = {a["name"] for a in wanted["artifacts"]}
    superseded = set(record["superseded"])
    record.update(
        state=APPLIED,
        files=sorted(file["path"] for file in wanted["files"]),
        units={unit["name"]: bool(unit["sha256"]) for unit in wanted["units"]},
        artifacts={name: kept for name, kept in record["artifacts"].items() if name in names},
        sysctls_before={k: v for k, v in record["sysctls_before"].items() if k in wanted["sysctls"]},
        purge=sorted(wanted["remove"]["purge"]),
        modules=list(wanted["kernel_modules"]),
        sysctls_set=dict(wanted["sysctls"]),
        restart={},
        superseded=[],
    )
    save_record(record)
    cache.forget(superseded - digests_in_use())


def digests_in_use():
    """Artifacts that some record names."""
    return {kept["sha256"] for record in all_records() for kept in record.get("artifacts", {}).values()}


def first_difference(todo):
    """One sentence about what is still wrong; empty when nothing is."""
    if todo["version"]:
        return "it was installed, but says it is another version than {}".format(todo["version"][0])
    for what, names in told(todo, {}):
        for name in names:
            return f"{what} {name} is still not as wanted after it was set"
    return ""


def told(todo, stale):
    """Kind and names of what differs, for people."""
    yield "artifact", [a["name"] for a in todo["artifacts"]]
    yield "file", [f["path"] for f in todo["files"]]
    yield "unit", sorted({u["name"] for u in todo["unit_files"] + todo["unit_states"]})
    yield "sysctl", todo["sysctls"]
    yield "module", todo["modules"]
    yield "leftover", [name for names in stale.values() for name in names]

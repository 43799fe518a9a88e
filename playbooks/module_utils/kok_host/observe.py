"""What is on this host of what is wanted. Reads only; one text for two readers: the SSH probe is this file sent to `python3 -`, and the Ansible
modules decide by it what to change. So a host the probe finds right is one where a play changes nothing, by construction.

Standard library only, Python 3.8 and newer; it imports nothing of kok, because the probe sends it alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time

OWNER = "/etc/kok/owner.json"
RECORDS = "/etc/kok/packages"
STORE = "/var/cache/kok/sha256"
STAGED = "/var/cache/kok/staged.json"
UNIT_FILES = "/etc/systemd/system"
APPLIED = "Applied"
DIGEST = re.compile(r"[0-9a-f]{64}$")
KUBELET_CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
KUBELET_KUBECONFIG = "/etc/kubernetes/kubelet.conf"
ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias")
# A unit that systemd keeps restarting counts as running: applying it again would cure nothing, its own gate tells what is wrong.
RUNNING = ("active", "activating", "reloading")


def run(*command, timeout=10):
    """Exit code and output of a command; a missing one is 127, one that hangs 124."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    except FileNotFoundError:
        return 127, command[0] + ": not found"
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} did not answer within {timeout}s"
    except OSError as error:
        return 126, f"{command[0]}: {error}"
    return done.returncode, done.stdout.decode("utf-8", "replace")


def read(path):
    """Text of a small file; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def read_json(path):
    """A dict from a JSON file; empty when it is absent or cut."""
    try:
        found = json.loads(read(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def record_path(component):
    """Where the record of a component lies."""
    return f"{RECORDS}/{component}.json"


def fingerprint(path):
    """What tells a touched file from an untouched one without reading it: ctime cannot be set by hand."""
    found = os.lstat(path)
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def sha256_of(path):
    """Digest of a regular file; empty when there is none (a link is none)."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return ""
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return digest.hexdigest()
    except OSError:
        return ""


def digest_of(path, known):
    """Digest of a file, read only when its fingerprint is not the recorded one. `known` is [digest, fingerprint] or None."""
    try:
        if known and fingerprint(path) == known[1]:
            return known[0]
    except OSError:
        return ""
    return sha256_of(path)


def mode_of(path):
    """Permissions as four octal digits; empty when absent."""
    try:
        return f"{stat.S_IMODE(os.lstat(path).st_mode):04o}"
    except OSError:
        return ""


def file_report(path):
    """Digest and permissions of one path."""
    return {"sha256": sha256_of(path), "mode": mode_of(path)}


def files_intact(recorded):
    """Whether every recorded file still has its recorded content."""
    return all(digest_of(path, known) == known[0] for path, known in recorded.items())


def artifact_present(artifact, recorded):
    """Whether an artifact is installed as wanted. `recorded` is what the last apply noted of it."""
    if artifact["as"] == "File":
        known = (recorded.get("files") or {}).get(artifact["path"])
        return digest_of(artifact["path"], known) == artifact["sha256"] and mode_of(artifact["path"]) == artifact["mode"]
    if recorded.get("sha256") != artifact["sha256"]:
        return False
    checks = {"Archive": archive_present, "Deb": deb_present, "Rpm": rpm_present, "Image": images_present}
    return checks[artifact["as"]](artifact, recorded)


def archive_present(artifact, recorded):
    """Every file that came out of the archive is as it came."""
    return bool(recorded.get("files")) and files_intact(recorded["files"])


def deb_present(artifact, recorded):
    """dpkg has it installed in the artifact's version, and its files are untouched (configuration files are not dpkg's to judge)."""
    code, out = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}|${Version}", recorded["package"])
    status, _, version = out.partition("|")
    if code or status.strip() != "ii" or version.strip() != recorded["version"]:
        return False
    if artifact.get("package_version") and artifact["package_version"] != recorded["version"]:
        return False
    return untouched(recorded) or verified("dpkg", "--verify", recorded["package"])


def rpm_present(artifact, recorded):
    """rpm has it installed in the artifact's version, and its files are untouched."""
    code, out = run("rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}", recorded["package"])
    if code or out.strip() != recorded["version"]:
        return False
    if artifact.get("package_version") and artifact["package_version"] != recorded["version"]:
        return False
    return untouched(recorded) or verified("rpm", "-V", recorded["package"])


def untouched(recorded):
    """Whether nobody wrote to any file of a distribution package since it was installed."""
    try:
        return all(fingerprint(path) == known for path, known in recorded.get("fingerprints", {}).items())
    except OSError:
        return False


def verified(*command):
    """Whether the distribution's own check finds nothing but changed configuration files (`c`) and missing documentation."""
    _, out = run(*command, timeout=30)
    lines = [line for line in out.splitlines() if line.strip()]
    return all(" c /" in line or "/usr/share/" in line for line in lines)


def images_present(artifact, recorded):
    """Every image of the archive is in containerd."""
    wanted = set(recorded.get("images", ())) | ({artifact["image"]} if artifact.get("image") else set())
    return wanted <= images_in_containerd()


def images_in_containerd():
    """Names of the images that pods can use; empty when containerd does not answer."""
    code, out = run("ctr", "--connect-timeout", "5s", "-n", "k8s.io", "images", "list", "-q")
    return set(out.split()) if code == 0 else set()


def shown(names, *properties):
    """Unit -> these properties of it, by one `systemctl show`; nothing of those that it does not answer for."""
    _, out = run("systemctl", "show", "-p", ",".join(properties), "--", *names)
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in out.strip().split("\n\n")]
    found = dict(zip(names, blocks))  # noqa: B905 - Python 3.8; in the order asked for: the Id of an alias is another name
    return {name: found.get(name, {}) for name in names}


def units_report(units):
    """State of each wanted unit."""
    if not units:
        return {}
    states = shown([unit["name"] for unit in units], "ActiveState", "UnitFileState", "ExecMainStartTimestampMonotonic")
    return {unit["name"]: unit_report(unit, states[unit["name"]]) for unit in units}


def unit_report(unit, state):
    """State of one wanted unit, from what systemd shows of it."""
    return {
        "active": state.get("ActiveState") in RUNNING,
        "enabled": state.get("UnitFileState") in ENABLED,
        "sha256": sha256_of("{}/{}".format(UNIT_FILES, unit["name"])) if unit["sha256"] else "",
        "since": began_at(state.get("ExecMainStartTimestampMonotonic", "")),
    }


def began_at(monotonic):
    """Seconds since 1970, by this host's clock, at which a process began that systemd says began so many microseconds after boot; None: it did not."""
    if not monotonic.isdigit() or not int(monotonic):
        return None
    return time.time() - (time.monotonic() - int(monotonic) / 1e6)


HEADER = "# Written by kok; edits are put back.\n"


def sysctl_file(component):
    """Where a component's kernel settings are persisted."""
    return f"/etc/sysctl.d/90-kok-{component}.conf"


def modules_file(component):
    """Where a component's kernel modules are listed for the next boot."""
    return f"/etc/modules-load.d/kok-{component}.conf"


def live_sysctl(key):
    """The kernel's value, white space made single; empty when there is no such setting."""
    return " ".join(read("/proc/sys/" + key.replace(".", "/")).split())


def sysctl_text(wanted):
    """Content of that file below its header: kok owns it whole."""
    return "".join("{} = {}\n".format(*item) for item in sorted(wanted.items()))


def sysctls_report(component, wanted):
    """The value of each setting; when the file for the next boot says something else, both. A file with anything else in it is not kok's."""
    text = read(sysctl_file(component))
    if text == HEADER + sysctl_text(wanted):
        return {key: described(live_sysctl(key), value) for key, value in wanted.items()}
    lines = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    persisted = {key.strip(): " ".join(value.split()) for key, value in lines}
    edited = all(persisted.get(key) == value for key, value in wanted.items())
    return {key: described(live_sysctl(key), "edited by hand" if edited else persisted.get(key, "nothing")) for key in wanted}


def described(live, persisted):
    """One value, or both when boot would bring another."""
    return live if live == persisted else f"{live} (persisted: {persisted})"


def module_loaded(name):
    """Loaded, built in, or a kernel that cannot load modules at all (then it is built in, or what needs it fails and says so)."""
    if not os.path.exists("/proc/modules") or os.path.isdir("/sys/module/" + name.replace("-", "_")):
        return True
    builtin = read(f"/lib/modules/{os.uname().release}/modules.builtin")
    return re.search(r"/{}\.ko".format(re.escape(name).replace("_", "[-_]")), builtin) is not None


def modules_report(component, wanted):
    """Whether each module is loaded now and listed for the next boot."""
    listed = read(modules_file(component)).split()
    return {name: name in listed and module_loaded(name) for name in wanted}


def observed_version(observe):
    """What the component says its version is; empty when it says none."""
    if not observe:
        return ""
    code, out = run(*observe["command"])
    found = re.search(observe["pattern"], out) if code == 0 else None
    return found.group(1) if found else ""


def package_report(wanted, record):
    """One component, as wanted and as it is. Without `observe` the version is the one that was last applied completely."""
    recorded = record.get("artifacts", {})
    applied = record.get("state") == APPLIED
    return {
        "component": wanted["component"],
        "name": record.get("name", "") if applied else "",
        "version": observed_version(wanted["observe"]) if wanted["observe"] else (record.get("version", "") if applied else ""),
        "artifacts": {a["name"]: artifact_present(a, recorded.get(a["name"], {})) for a in wanted["artifacts"]},
        "files": {file["path"]: file_report(file["path"]) for file in wanted["files"]},
        "units": units_report(wanted["units"]),
        "sysctls": sysctls_report(wanted["component"], wanted["sysctls"]),
        "kernel_modules": modules_report(wanted["component"], wanted["kernel_modules"]),
    }


def kubelet_credentials():
    """Whether the kubelet can reach its API server by itself: a kubeconfig, and a client certificate that has not expired."""
    try:
        certificate = ssl._ssl._test_decode_cert(KUBELET_CERTIFICATE)  # the standard library's only reader of certificate files
        return os.path.exists(KUBELET_KUBECONFIG) and ssl.cert_time_to_seconds(certificate["notAfter"]) > time.time()
    except (OSError, KeyError, ValueError, AttributeError):
        return False


def os_name():
    """PRETTY_NAME of /etc/os-release."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', read("/etc/os-release"), re.M)
    return found.group(1) if found else ""


def uptime_seconds():
    """Seconds since the kernel booted; None when it does not say."""
    try:
        return float(read("/proc/uptime").split()[0])
    except (IndexError, ValueError):
        return None


def host_report(packages):
    """Everything of one host."""
    records = {name[: -len(".json")]: read_json(RECORDS + "/" + name) for name in listing(RECORDS) if name.endswith(".json")}
    reports = {wanted["component"]: package_report(wanted, records.get(wanted["component"], {})) for wanted in packages}
    for component, record in records.items():
        left = {
            "component": component,
            "name": record.get("name", ""),
            "version": record.get("version", ""),
            "order": record.get("order", 100),
        }
        reports.setdefault(component, left)
    disk = shutil.disk_usage("/var")
    stored = [name for name in listing(STORE) if DIGEST.match(name)]
    staged = read_json(STAGED)
    return {
        "hostname": socket.gethostname(),
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
        "machine_id": read("/etc/machine-id").strip(),
        "os_release": os_name(),
        "disk_free_bytes": disk.free,
        "disk_total_bytes": disk.total,
        "owner": read_json(OWNER) or None,
        "packages": reports,
        "kubelet_credentials": kubelet_credentials(),
        "uptime_seconds": uptime_seconds(),
        "stored": stored,
        "staged": [digest for digest in stored if digest in staged],
    }


def listing(folder):
    """Names in a folder, sorted; none when it is absent."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []

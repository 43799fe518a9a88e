"""Kernel modules and settings: now and at the next boot; what a setting was before is noted, so that removal can put it back."""

from __future__ import annotations

import contextlib

from . import place
from .failure import Failure, must
from .observe import HEADER, live_sysctl, module_loaded, modules_file, sysctl_file, sysctl_text


def load_modules(component, names, folders):
    """Loads what is not loaded and lists all for the next boot."""
    for name in names:
        if not module_loaded(name):
            must("modprobe", name, timeout=20)
    persist(modules_file(component), "".join(name + "\n" for name in names), folders)


def set_sysctls(component, wanted, folders):
    """Sets the values and lists them for the next boot."""
    for key, value in wanted.items():
        if live_sysctl(key) != value:
            set_sysctl(key, value)
    persist(sysctl_file(component), sysctl_text(wanted), folders)


def set_sysctl(key, value):
    """One value, as the kernel takes it."""
    try:
        with open("/proc/sys/" + key.replace(".", "/"), "w", encoding="utf-8") as file:
            file.write(value)
    except OSError as error:
        raise Failure(f"sysctl {key} cannot be set to {value}: {error.strerror or error}") from None


def put_back(before, set_to):
    """Restores settings that still have the value kok gave them."""
    for key, value in before.items():
        if value and live_sysctl(key) == set_to.get(key):
            with contextlib.suppress(Failure):
                set_sysctl(key, value)


def persist(path, body, folders):
    """A list for the next boot; no file when it would be empty."""
    if body:
        place.write(path, [(HEADER + body).encode()], "0644", folders)
    else:
        place.remove(path)

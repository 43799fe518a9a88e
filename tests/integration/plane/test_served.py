"""packages/served/<minor>.txt says what real API servers of that minor have on offer; `python -m tests.integration.plane.test_served` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.adapters.catalogue_files import data_root
from operators.domain.plane.served import ServedApi, parse_served
from tests.integration import api_server
from tests.integration.api_server import ApiServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FOLDER = data_root() / "packages" / "served"
MINORS = {"1.33": ("1.34.4", ("--emulated-version=1.33",)), "1.34": ("1.34.4", ()), "1.35": ("1.35.4", ())}
"""Minor -> whose binary, and with which flags: 1.33 by emulation, which offers exactly what that minor does by default."""
EVERYTHING = "--runtime-config=api/all=true"


def offered(binary: str, *flags: str) -> set[tuple[str, str]]:
    """Group and version, and resource, of everything that can be listed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(api_server, "APISERVER", f"kube-apiserver-{binary}")
        server = ApiServer(extra_flags=flags)
        try:
            server.start()
            groups = json.loads(server.kubectl("get", "--raw", "/apis"))["groups"]
            paths = ["/api/v1", *(f"/apis/{version['groupVersion']}" for group in groups for version in group["versions"])]
            answers = [json.loads(server.kubectl("get", "--raw", path)) for path in paths]
        finally:
            server.close()
    return {(a["groupVersion"], r["name"]) for a in answers for r in a["resources"] if "/" not in r["name"] and "list" in r["verbs"]}


def of_minor(minor: str) -> tuple[ServedApi, ...]:
    """By default, and what only a flag turns on; of an emulated minor only the first is known."""
    binary, flags = MINORS[minor]
    default = offered(binary, *flags)
    every = default if flags else offered(binary, EVERYTHING)
    return tuple(ServedApi(version, resource, (version, resource) in default) for version, resource in sorted(default | every))


def path_of(minor: str) -> Path:
    return FOLDER / f"{minor}.txt"


@pytest.mark.parametrize("minor", sorted(MINORS))
def test_should_say_what_a_real_api_server_offers(minor: str) -> None:
    assert set(parse_served(path_of(minor).read_text())) == set(of_minor(minor))


if __name__ == "__main__":
    for each in sorted(MINORS):
        lines = sorted(f"{api.group_version} {api.resource}{'' if api.by_default else ' off'}" for api in of_minor(each))
        path_of(each).write_text("\n".join(lines) + "\n")

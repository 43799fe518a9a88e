"""A second API server with controllers as the business cluster, and a rig per test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import yaml

from operators.adapters.catalogue_files import FileCatalogue
from operators.domain.machine.reporting_rules import TEMPLATE, wanted_rules
from tests.integration.api_server import ApiServer
from tests.integration.machine_operator.rig import Rig


@pytest.fixture(scope="session")
def business_server() -> Iterator[ApiServer]:
    """The business cluster of all tests here, one after the other."""
    with ApiServer() as server:
        server.start_controller_manager()
        server.install_kinds()
        server.kubectl(
            "create", "clusterrolebinding", "bootstrap", "--clusterrole=system:node-bootstrapper", "--group=system:bootstrappers"
        )
        server.kubectl("create", "namespace", "kok-conditions")
        bind_reports(server)
        yield server


def bind_reports(server: ApiServer) -> None:
    """Put the admission rules there, as a plane does."""
    rules = wanted_rules(FileCatalogue().plane_templates("r1")[TEMPLATE])
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(rules))


@pytest.fixture
async def rig(api_server: ApiServer, business_server: ApiServer, crds: None, namespace: str) -> AsyncIterator[Rig]:
    made = Rig(api_server, business_server, namespace)
    await made.empty_business()
    await made.prepare()
    yield made
    await made.close()

from __future__ import annotations

import pytest

from tests.contract.hosts import HostContract

pytestmark = pytest.mark.integration


class TestRealHost(HostContract):
    """The contract over asyncssh, Ansible and a host with systemd."""

from __future__ import annotations

import pytest

from tests.contract.hosts import HostBench, HostContract

pytestmark = pytest.mark.integration


class TestRealHost(HostContract):
    """The contract over asyncssh, Ansible and a host with systemd. Slow here: what takes four plays for a side road of staging."""

    @pytest.mark.slow
    async def test_should_take_out_what_was_staged_and_is_no_longer_wanted(self, bench: HostBench) -> None:
        await super().test_should_take_out_what_was_staged_and_is_no_longer_wanted(bench)

    @pytest.mark.slow
    async def test_should_stage_nothing_on_a_host_that_is_not_ours(self, bench: HostBench) -> None:
        await super().test_should_stage_nothing_on_a_host_that_is_not_ours(bench)

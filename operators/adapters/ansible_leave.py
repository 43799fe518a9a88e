"""The last look at the leave of a run's hosts, when their turn has come: after the queue, the slots and the artifacts. Any error means no.

Work without leave is judged again: a node may have registered on its host meanwhile.

Used by adapters/ansible.py and its twin, adapters/sim_ansible.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from operators.errors import KokError
from operators.ports.ansible import ALLOWED_BY, LEAVE_LEFT, AnsibleJob, HostOutcome, HostWork, JobAction
from operators.ports.grants import GrantsPort

log = structlog.get_logger(__name__)
WITHHELD = "nothing was run on it: its leave was withdrawn or ran out while it waited"
NOT_HARMLESS = "nothing was run on it: it hurt nobody when it was ordered, and needs leave by now"


async def with_leave(job: AnsibleJob, grants: GrantsPort) -> tuple[AnsibleJob, dict[str, HostOutcome]]:
    """The job with those hosts whose leave holds now or that still need none (maybe no host at all), and what is said of the others."""
    words = await asyncio.gather(*(_why_not(job.action, work, grants) for work in job.hosts))
    allowed = tuple(work for work, why in zip(job.hosts, words, strict=True) if not why)
    refused = {
        work.target.name: HostOutcome(0, failed=True, message=f"{WITHHELD if work.grant else NOT_HARMLESS} ({why})", withheld=True)
        for work, why in zip(job.hosts, words, strict=True)
        if why
    }
    if refused:
        log.warning(
            "hosts are left out of a run: their leave does not hold, or they need one by now", ident=job.ident, hosts=sorted(refused)
        )
    return replace(job, hosts=allowed), refused


async def _why_not(action: JobAction, work: HostWork, grants: GrantsPort) -> str:
    """Why this host's grant does not allow its work now; empty if it does, or if it still needs none."""
    if work.grant is None:
        return await _why_not_harmless(work)
    operation = ALLOWED_BY.get(action)
    if operation is None:
        return f"no grant allows to {action.value}"
    try:
        await grants.verify(work.grant, operation=operation, target=work.target.name, left=LEAVE_LEFT)
    except KokError as error:
        return error.message
    except Exception as error:
        log.exception("a grant could not be verified; this is a bug")
        return f"it cannot be verified: {type(error).__name__}: {error}"
    return ""


async def _why_not_harmless(work: HostWork) -> str:
    if work.hurts_by_now is None:
        return ""
    try:
        return await work.hurts_by_now()
    except KokError as error:
        return error.message
    except Exception as error:
        log.exception("work could not be judged again; this is a bug")
        return f"it cannot be judged again: {type(error).__name__}: {error}"

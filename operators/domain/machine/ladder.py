"""What a machine needs next: the first rung with something to do. Pure; called by the machine controller.

Order: paused > closing > leaving > claim > certificates > a running job > unreachable > maintenance > packages > registration >
node settings > the Node shows its gates > uncordon > gates > left-over grants > done. Closing a node to new pods is first because it
protects and can hurt nothing; certificates come before a running job because the kubelet that a job starts waits for its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from operators.api.hosts import Host, HostClaim
from operators.domain.machine import leaving as leaving_rungs
from operators.domain.machine import our_side
from operators.domain.machine.certificates import Identity, why_not
from operators.domain.machine.drain_ladder import drain_for
from operators.domain.machine.gate_ladder import closing, gates, mirror, uncordon
from operators.domain.machine.node import settings_patch
from operators.domain.machine.packages import packages_rung, registration_rung
from operators.domain.machine.steps import (
    ApplyPackages,
    ApproveCertificate,
    CleanHost,
    CreateClaim,
    Done,
    DrainNode,
    PatchNode,
    Rung,
    SettleGrants,
    Step,
    UpdateClaim,
    Wait,
    Workflow,
)
from operators.domain.machine.view import MachineView
from operators.errors import ErrorCode

HOST_WORK = (ApplyPackages, CleanHost, DrainNode)
"""What is begun on a host, or for its sake."""


def next_step(view: MachineView) -> Step:
    """The first rung that has something to do or to wait for."""
    for rung in LADDER:
        if step := rung(view):
            return _unless_it_is_us(view, step)
    count = len(view.desired)
    state = "in maintenance, cordoned and empty" if view.drain_workflow else "open"
    rung_in_hand = Rung.Maintenance if view.drain_workflow else Rung.Open
    return Done(reason=f"{count} packages match, the node is {state}", after=jittered(view.times.probe, view.name), rung=rung_in_hand)


def _unless_it_is_us(view: MachineView, step: Step) -> Step:
    """Nothing is begun on a host while it is us who cannot see the others; what serves pods goes on serving them."""
    ours = our_side.problem(view.sight) if isinstance(step, HOST_WORK) else ""
    return Wait(reason=ours, after=retry_probe(view), rung=step.rung, stalled=ErrorCode.ManyUnreachable) if ours else step


def jittered(seconds: float, name: str) -> float:
    """Up to a tenth more, always the same for one name: a pool's hosts are not probed all at once, and none more than once per period."""
    share = hashlib.sha256(name.encode()).digest()[0] / 255.0
    return seconds * (1.0 + 0.1 * share)


def paused(view: MachineView) -> Step | None:
    """A person said so, or the Cluster cannot be read: nothing is changed."""
    if view.cluster.problem:
        return Wait(reason=view.cluster.problem, after=30.0, rung=Rung.Paused)
    if view.cluster.paused:
        return Wait(reason=f"Cluster {view.cluster.name} is paused: nothing is changed", after=None, rung=Rung.Paused)
    return None


def claiming(view: MachineView) -> Step | None:
    """The host must be ours before anything connects to it, and the claim says beforehand what will be on it."""
    host, claim = view.wish.host, view.owned.mine
    if view.owned.obstacle:
        return Wait(reason=claimed_words(view.owned.obstacle), after=60.0, rung=Rung.Claiming, stalled=ErrorCode.HostClaimed)
    if host is None or view.wish.packages is None:
        words = view.wish.problem or f"waits until its pool authorises packages for {view.name}"
        return Wait(reason=words, after=None, rung=Rung.Waiting)
    if view.business.machine is None:
        return Wait(reason="its Machine object is being made", after=None, rung=Rung.Waiting)
    if claim is None:
        words = f"takes host {host.address}:{host.port}"
        return CreateClaim(reason=words, rung=Rung.Claiming, host=host, packages=view.wish.packages)
    return _claim_update(view, claim, host, view.wish.packages)


def _claim_update(view: MachineView, claim: HostClaim, host: Host, packages: tuple[str, ...]) -> Step | None:
    known = set(claim.spec.packages)
    if set(packages) <= known and claim.spec.connection == host:
        return None
    ever = (*claim.spec.packages, *(name for name in packages if name not in known))
    return UpdateClaim(reason=f"notes what {view.name} will carry and how it is reached", rung=Rung.Claiming, host=host, packages=ever)


def claimed_words(claim: HostClaim) -> str:
    """Who has the host, and what to do."""
    spec = claim.spec
    return (
        f"host {spec.address}:{spec.port} is claimed by pool {spec.namespace}/{spec.pool} (host {spec.host}, since {spec.claimed_at}); "
        "remove it there first"
    )


def certificates(view: MachineView) -> Step | None:
    """Approve what is exactly this machine's own; the rest is left and shown (`refused_requests`)."""
    identity = identity_of(view)
    own = tuple(request.name for request in view.business.requests if not request.decided and not why_not(request, identity))
    if not own:
        return None
    return ApproveCertificate(reason=f"approves certificate request {', '.join(own)} of {view.name}", names=own, rung=Rung.Registering)


def identity_of(view: MachineView) -> Identity:
    """Whose certificates are approved: the name and address that the pool lists, and the live token's user."""
    token = view.business.token
    live = token is not None and token.expires > view.now
    address = view.wish.host.address if view.wish.host else ""
    return Identity(view.name, address, f"system:bootstrap:{token.id}" if token and live else "")


def refused_requests(view: MachineView) -> str:
    """Requests that speak of this machine and are not its own, in words; empty if there are none."""
    identity = identity_of(view)
    refused = [(r.name, why_not(r, identity)) for r in view.business.requests if not r.decided]
    return "; ".join(f"certificate request {name} {why}" for name, why in refused if why)


def running_job(view: MachineView) -> Step | None:
    """One job per host; its end wakes the machine."""
    if view.job is None or not view.job.is_running:
        return None
    return Wait(reason=view.job.message, after=None, rung=Rung.Updating if view.node else Rung.Installing)


def unreachable(view: MachineView) -> Step | None:
    """SSH says what is wrong; what serves pods goes on serving them."""
    if view.probe is None:
        return Wait(reason=f"{view.name} has not been looked at yet", after=1.0, rung=Rung.Unreachable)
    if view.probe.error:
        error = view.probe.error
        if ours := our_side.problem(view.sight):
            return Wait(reason=ours, after=retry_probe(view), rung=Rung.Unreachable, stalled=ErrorCode.ManyUnreachable)
        words = f"{error.message}; {error.hint}" if error.hint else error.message
        return Wait(reason=words, after=retry_probe(view), rung=Rung.Unreachable, stalled=error.code)
    owner, claim = view.report.owner if view.report else None, view.owned.mine
    if owner and claim and owner.claim_uid != claim.metadata.uid:
        words = (
            f"the host's own record says that it belongs to pool {owner.pool} of cluster {owner.cluster} (claim {owner.claim_uid}); "
            "decommission it there, or remove /etc/kok/owner.json on it if that cluster is gone"
        )
        return Wait(reason=words, after=60.0, rung=Rung.Claiming, stalled=ErrorCode.HostClaimed)
    return None


def retry_probe(view: MachineView) -> float:
    """Seconds until a host that did not answer is asked again."""
    return jittered(view.times.probe / 4, view.name)


def maintenance(view: MachineView) -> Step | None:
    """Cordoned and drained for as long as a business admin asks for it."""
    if view.drain_workflow is not Workflow.maintenance or view.node is None:
        return None
    return drain_for(view, Workflow.maintenance)


def node_settings(view: MachineView) -> Step | None:
    """Labels and taints of the pool, over the API: their change restarts no kubelet."""
    if view.node is None or view.wish.pool is None:
        return None
    patch = settings_patch(view.node, view.wish.pool.spec.labels, view.wish.pool.spec.taints)
    return PatchNode(reason="sets the pool's labels and taints on the node", patch=patch, rung=Rung.Registering) if patch else None


def leftover_grants(view: MachineView) -> Step | None:
    """Here every act is over: their slots are freed, also when the process that began them is gone."""
    over = tuple(grant.name for grant in view.grants if grant.granted_at)
    return SettleGrants(reason=f"reports the end of {', '.join(over)}", grants=over, rung=Rung.Gates) if over else None


LADDER: tuple[Callable[[MachineView], Step | None], ...] = (
    paused,
    closing,
    leaving_rungs.leaving,
    claiming,
    certificates,
    running_job,
    unreachable,
    maintenance,
    packages_rung,
    registration_rung,
    node_settings,
    mirror,
    uncordon,
    gates,
    leftover_grants,
)

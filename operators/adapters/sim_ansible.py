"""Changing simulated hosts (adapters/sim_ssh.py): the same contract as adapters/ansible.py, at once and in memory."""

from __future__ import annotations

from collections.abc import Mapping

from operators.adapters.ansible_leave import with_leave
from operators.adapters.sim_ssh import HostFault, SimFleet, SimHost, found_of, report_as_wanted
from operators.domain.machine.host import DesiredPackage, Owner
from operators.errors import ErrorCode, KokError
from operators.ports.ansible import AnsibleJob, HostOutcome, HostWork, JobAction
from operators.ports.grants import GrantsPort

TAKE = "take the host and send what it lacks"
STAGE = "stage artifacts"
TASKS = {JobAction.Apply: TAKE, JobAction.Clean: "remove everything", JobAction.Stage: STAGE}


class SimAnsible:
    """Runs jobs on simulated hosts; see ports.ansible.AnsiblePort. `jobs` keeps what was run, for assertions."""

    def __init__(self, fleet: SimFleet, *, grants: GrantsPort) -> None:
        self._fleet, self._grants = fleet, grants
        self._closed = False
        self.jobs: list[AnsibleJob] = []

    async def run(self, job: AnsibleJob) -> Mapping[str, HostOutcome]:
        """Outcome per host name."""
        if self._closed:
            raise KokError(ErrorCode.AnsibleFailed, "this operator has lost its leadership and starts no more Ansible runs")
        allowed, withheld = await with_leave(job, self._grants)
        if allowed.hosts:
            self.jobs.append(allowed)
        return withheld | {work.target.name: await self._work(work, allowed) for work in allowed.hosts}

    async def close(self) -> None:
        """Starts none again."""
        self._closed = True

    async def _work(self, work: HostWork, job: AnsibleJob) -> HostOutcome:
        try:
            host = await self._fleet.reach(work.target, deadline=min(job.timeout, 15.0))
        except KokError as error:
            return HostOutcome(0, failed=True, task=TASKS[job.action], message=error.message)
        host.jobs += 1
        if refusal := refusal_of(host.owner, work.owner):
            return HostOutcome(0, failed=True, task=TASKS[job.action], message=refusal)
        if job.action is JobAction.Stage:
            return stage(host, work)
        return clean(host) if job.action is JobAction.Clean else apply(host, work)


def refusal_of(found: Owner | None, owner: Owner) -> str:
    """The fence, in the host's own words; empty when it lets through."""
    if found is None:
        return ""
    if found.claim_uid != owner.claim_uid:
        return (
            f"this host belongs to pool {found.pool} of cluster {found.cluster} (claim {found.claim_uid}); remove it from that pool first"
        )
    if found.epoch > owner.epoch:
        return f"a newer operator (epoch {found.epoch}) acts on this host; this one has epoch {owner.epoch}"
    return ""


def apply(host: SimHost, work: HostWork) -> HostOutcome:
    """Removals, then packages in their order; the first failure ends it."""
    changed = int(host.owner != work.owner) + int(
        bool(work.bootstrap_kubeconfig) and host.bootstrap_kubeconfig != work.bootstrap_kubeconfig
    )
    host.owner = work.owner
    host.bootstrap_kubeconfig = work.bootstrap_kubeconfig or host.bootstrap_kubeconfig
    if host.fault is HostFault.DiskFull and work.packages:
        return HostOutcome(changed, failed=True, task=TAKE, message="disk full: /var/cache/kok needs 64 MiB for artifacts, 0 MiB are free")
    changed += sum(host.remove(component) for component in work.remove)
    for package in work.packages:
        if host.fault is HostFault.FailsOnApply:
            return HostOutcome(changed, failed=True, task=f"apply {package.name}", message="dpkg --install: simulated failure")
        changed += _apply_package(host, package)
    return HostOutcome(changed, failed=False)


def _apply_package(host: SimHost, package: DesiredPackage) -> int:
    found = host.installed.get(package.component)
    if found is not None and found_of(package, found) == report_as_wanted(package):
        return 0
    host.install(package)
    return 1


def stage(host: SimHost, work: HostWork) -> HostOutcome:
    """Into the store, and out of it what was staged for nobody."""
    if host.owner is None:
        return HostOutcome(0, failed=True, task=STAGE, message="this host was given back, or is not taken yet: nothing is staged on it")
    used = {artifact.sha256 for package in host.desired.values() for artifact in package.artifacts}
    gone = host.staged - used - set(work.keep)
    host.store -= gone
    host.staged = host.staged & set(work.keep) - used
    new = {artifact.sha256 for artifact in work.artifacts} - host.store
    if new and host.fault is HostFault.DiskFull:
        return HostOutcome(int(bool(gone)), failed=True, task=STAGE, message="disk full: 64 MiB to be staged in /var/cache/kok")
    host.store |= new
    host.staged |= new
    return HostOutcome(int(bool(new or gone)), failed=False)


def clean(host: SimHost) -> HostOutcome:
    """Nothing of kok is left."""
    had = bool(host.installed) or host.owner is not None
    host.installed.clear()
    host.desired.clear()
    host.store.clear()
    host.staged.clear()
    host.owner, host.bootstrap_kubeconfig, host.kubelet_credentials = None, "", False
    return HostOutcome(int(had), failed=False)

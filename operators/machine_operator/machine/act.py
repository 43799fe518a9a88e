"""Does one step of a machine. Decides nothing: every step can be done again after a crash anywhere inside.

Verbs that hurt (drain, clean, delete) ask for leave first and say in words why there is none yet; the port verifies it again right before acting
(before a play on a host: when its turn has come).
"""

from __future__ import annotations

import contextlib
from functools import partial

import structlog

from operators.api.hosts import Host, HostClaim
from operators.api.risk import Operation, Outcome, Purpose, Target
from operators.domain.machine import steps
from operators.domain.machine.certificates import request_of, why_not
from operators.domain.machine.host import Owner
from operators.domain.machine.ladder import claimed_words, identity_of
from operators.domain.machine.reports import CONDITIONS_NAMESPACE
from operators.domain.machine.staging import is_settled, next_staging
from operators.domain.machine.steps import Step, Workflow
from operators.domain.machine.view import MachineView
from operators.errors import ErrorCode, KokError
from operators.machine_operator import kinds
from operators.machine_operator.claims import claim_manifest, claim_name
from operators.machine_operator.gatekeeping import Gatekeeper
from operators.machine_operator.jobs import Order
from operators.machine_operator.machine.access import ssh_target
from operators.machine_operator.machine.observe import Observer
from operators.machine_operator.meta import Meta
from operators.machine_operator.tokens import TokenSecret, bootstrap_kubeconfig, read_token, token_manifest, token_ref
from operators.machine_operator.world import World
from operators.ports.ansible import LEAVE_LEFT, HostWork, JobAction
from operators.ports.grants import Grant, GrantRequest, OpId, Waiting
from operators.ports.kube import AlreadyExists, Forbidden, Manifest, Preconditions, Subresource
from operators.ports.ssh import SshTarget

log = structlog.get_logger(__name__)
GRANT_STEPS = {Operation.Drain: "drain", Operation.ApplyPackage: "apply", Operation.DeleteMachine: "remove", Operation.Cordon: "cordon"}
LONGEST_LEAVE = 86400
"""Seconds: a cordon for a lost gate lasts until the gate is back, and its leave is held for as long."""


class Actor:
    """Does steps; returns what there is to say beyond the step's reason."""

    def __init__(self, world: World, meta: Meta, observer: Observer, gatekeeper: Gatekeeper) -> None:
        self._world, self._meta, self._observer, self._gatekeeper = world, meta, observer, gatekeeper

    async def act(self, view: MachineView, step: Step) -> str:
        """One match, one risky thing at most. Raises KokError."""
        match step:
            case steps.CreateClaim() | steps.UpdateClaim() | steps.ReleaseClaim():
                return await self._claim(view, step)
            case steps.IssueToken():
                return await self._issue_token(view)
            case steps.DeleteToken():
                return await self._delete_token(view)
            case steps.ApproveCertificate():
                return await self._approve(view, step)
            case steps.ApplyPackages():
                return await self._apply(view, step)
            case steps.OpenNode():
                return await self._open(view, step)
            case steps.PatchNode():
                return await self._patch_node(view, step.patch)
            case steps.MirrorGates():
                return await self._patch_node(view, step.operations)
            case steps.SettleGrants():
                return await self._settle(view, step.grants, step.outcome)
        return await self._act_with_leave(view, step)

    async def _act_with_leave(self, view: MachineView, step: Step) -> str:
        match step:
            case steps.CordonNode():
                return await self._cordon(view, step)
            case steps.DrainNode():
                return await self._drain(view, step)
            case steps.CleanHost():
                return await self._clean(view, step)
            case steps.DeleteNode() | steps.DeleteMachine():
                return await self._delete(view, step)
            case steps.UnmarkPods():
                await self._world.hands.danger.unmark_pods(step.pods)
        return ""

    async def _claim(self, view: MachineView, step: steps.CreateClaim | steps.UpdateClaim | steps.ReleaseClaim) -> str:
        match step:
            case steps.CreateClaim():
                await self._create_claim(view, step.host, step.packages)
            case steps.UpdateClaim():
                await self._update_claim(view, step)
            case steps.ReleaseClaim():
                await self._settle(view, tuple(grant.name for grant in view.grants if grant.granted_at), Outcome.Succeeded)
                if claim := view.owned.mine:
                    ref = kinds.HOST_CLAIM.ref(claim.metadata.name)
                    await self._world.servers.meta.delete(ref, preconditions=Preconditions(uid=claim.metadata.uid))
        return ""

    async def _create_claim(self, view: MachineView, host: Host, packages: tuple[str, ...]) -> None:
        """The create is the lock: of two, one loses and says who won."""
        pool, meta = view.wish.pool, self._world.servers.meta
        if pool is None:
            return
        manifest = claim_manifest(pool, host, packages, now=self._world.now())
        try:
            self._world.cache.put(await meta.create(manifest))
        except AlreadyExists as error:
            found = await meta.get(kinds.HOST_CLAIM.ref(claim_name(host.address, host.port)))
            if found is None:
                raise
            self._world.cache.put(found)
            words = claimed_words(HostClaim.parse(found))
            raise KokError(ErrorCode.HostClaimed, words) from error

    async def _update_claim(self, view: MachineView, step: steps.UpdateClaim) -> None:
        claim = view.owned.mine
        if claim is None:
            return
        connection = step.host.model_dump(mode="json", by_alias=True, exclude_none=True)
        spec = {"packages": list(step.packages), "connection": connection}
        ref, version = kinds.HOST_CLAIM.ref(claim.metadata.name), claim.metadata.resource_version
        self._world.cache.put(await self._world.servers.meta.patch_json(ref, {"spec": spec}, resource_version=version))

    async def _issue_token(self, view: MachineView) -> str:
        machine = view.business.machine
        if machine:
            manifest = token_manifest(view.name, machine.metadata.uid, cluster=view.cluster.name, now=self._world.now())
            await self._world.servers.business.apply(manifest)
            self._observer.expect_token(view.name)
        return ""

    async def _delete_token(self, view: MachineView) -> str:
        if machine := view.business.machine:
            await self._world.servers.business.delete(token_ref(machine.metadata.uid))
        return ""

    async def _token(self, view: MachineView) -> TokenSecret:
        machine = view.business.machine
        found = await self._world.servers.business.get(token_ref(machine.metadata.uid)) if machine else None
        token = read_token(found, view.name) if found else None
        if token is None:
            raise KokError(ErrorCode.SecretMissing, f"the bootstrap token of {view.name} is gone", "another is made")
        return token

    async def _approve(self, view: MachineView, step: steps.ApproveCertificate) -> str:
        """Judged once more as it is now, and compare-and-swap on that: a name may have been used again meanwhile."""
        business = self._world.servers.business
        for name in step.names:
            found = await business.get(kinds.CSR.ref(name))
            if found is None or (request := request_of(found)).decided or why_not(request, identity_of(view)):
                continue
            condition = {"type": "Approved", "status": "True", "reason": "KokMachine", "message": step.reason}
            patch: Manifest = {"status": {"conditions": [condition]}}
            version = found["metadata"]["resourceVersion"]
            ref = kinds.CSR.ref(name)
            approved = await business.patch_json(ref, patch, resource_version=version, subresource=Subresource.Approval)
            self._world.cache.put(approved, server=kinds.BUSINESS)
        return ""

    async def _apply(self, view: MachineView, step: steps.ApplyPackages) -> str:
        grant = None
        if step.needs_grant:
            leave = await self._leave(view, Operation.ApplyPackage, Workflow.update)
            if isinstance(leave, str):
                return leave
            grant = leave
            await self._world.hands.grants.verify(grant, operation=grant.operation, target=view.name, left=LEAVE_LEFT)
        bootstrap, digest = "", ""
        if step.bootstrap:
            token, cluster = await self._token(view), self._meta.cluster()
            if cluster is None:
                raise KokError(ErrorCode.NotFound, "the Cluster is not there")
            bootstrap = bootstrap_kubeconfig(token, server=self._meta.endpoint(cluster), ca_pem=self._world.identity.ca_pem)
            digest = token.token.digest
        host = view.wish.host
        stored = view.report.stored if view.report else frozenset()
        target, owner = await self._target(view, host), self._owner(view)
        judged = partial(self._hurts_by_now, view.name) if step.spares_nobody else None
        work = HostWork(target, owner, step.packages, step.remove, bootstrap, stored=stored, grant=grant, hurts_by_now=judged)
        self._world.hands.jobs.submit(Order(view.name, JobAction.Apply, work, step.signature, step.join, step.reason, digest))
        return ""

    async def _hurts_by_now(self, name: str) -> str:
        """Read live, when the turn of its work has come."""
        if await self._world.servers.business.get(kinds.NODE.ref(name)) is None:
            return ""
        return f"node {name} has registered meanwhile, and this drains it"

    async def stage(self, view: MachineView, step: Step) -> None:
        """Beside whatever the step was: what is due ahead. Not a step: nothing waits for it, and what goes wrong here is told by the next run."""
        stagings = self._world.hands.stagings
        due = next_staging(view, step)
        if due is None:
            if is_settled(view):
                stagings.forget(view.name)
            return
        try:
            target, owner = await self._target(view, view.wish.host), self._owner(view)
            work = HostWork(target, owner, artifacts=due.artifacts, keep=due.keep, grant=None)
        except KokError as error:
            log.warning("nothing can be staged", machine=view.name, error=error.message)
            return
        stagings.submit(Order(view.name, JobAction.Stage, work, due.signature, due.join, due.reason))

    async def _clean(self, view: MachineView, step: steps.CleanHost) -> str:
        leave = await self._leave(view, Operation.DeleteMachine, Workflow.decommission)
        if isinstance(leave, str):
            return leave
        claim = view.owned.mine
        target = await self._target(view, claim.spec.connection if claim else None)
        work = HostWork(target, self._owner(view), step.packages, grant=leave)
        await self._world.hands.grants.verify(leave, operation=Operation.DeleteMachine, target=view.name, left=LEAVE_LEFT)
        self._world.hands.jobs.submit(Order(view.name, JobAction.Clean, work, step.signature, "clean", step.reason))
        return ""

    async def _target(self, view: MachineView, host: Host | None) -> SshTarget:
        cluster = self._meta.cluster()
        if cluster is None or host is None:
            raise KokError(ErrorCode.NotFound, f"nothing says any more how {view.name} is reached")
        return await ssh_target(self._world, cluster, host)

    def _owner(self, view: MachineView) -> Owner:
        claim = view.owned.mine
        if claim is None:
            raise KokError(ErrorCode.HostClaimed, f"there is no claim on {view.name}: nothing is done on it")
        return Owner(claim.metadata.uid, view.cluster.name, claim.spec.pool, self._world.leadership.epoch)

    async def _open(self, view: MachineView, step: steps.OpenNode) -> str:
        """What was judged came from the cache; opening relies on what the API server itself says now."""
        if closed := await self._gatekeeper.closed_by_now(view):
            return f"takes no new pods: {closed.message}"
        return await self._patch_node(view, step.patch)

    async def _patch_node(self, view: MachineView, patch: dict[str, object] | tuple[dict[str, object], ...]) -> str:
        """Compare-and-swap: what was judged is what is changed. A JSON patch is one of the status."""
        if node := view.node:
            ref, business = kinds.NODE.ref(node.name), self._world.servers.business
            if isinstance(patch, tuple):
                operations = [dict(each) for each in patch]
                changed = await business.patch_json(ref, operations, resource_version=node.resource_version, subresource=Subresource.Status)
            else:
                changed = await business.patch_json(ref, dict(patch), resource_version=node.resource_version)
            self._world.cache.put(changed, server=kinds.BUSINESS)
        return ""

    async def _cordon(self, view: MachineView, step: steps.CordonNode) -> str:
        """The leave is not given back here: it counts for as long as the node is cordoned, so that a pool is never closed one by one."""
        leave = await self._leave(view, Operation.Cordon, Workflow.gate, ttl=LONGEST_LEAVE)
        if isinstance(leave, str):
            return f"is open, but {step.gate}; {leave}"
        async with self._gatekeeper.cordoning:
            if not await self._gatekeeper.is_last_open(view):
                await self._world.hands.danger.cordon(view.name, leave, owner=Workflow.gate.value)
                return ""
        await self._world.hands.grants.settle(leave, Outcome.Cancelled)
        return f"stays open, as the last open node of its pool, although {step.gate}"

    async def _drain(self, view: MachineView, step: steps.DrainNode) -> str:
        leave = await self._leave(view, step.operation, step.workflow)
        if isinstance(leave, str):
            return leave
        danger = self._world.hands.danger
        await danger.cordon(view.name, leave, owner=step.workflow.value)
        if not step.evict:
            await danger.mark_pods(view.business.pods or ())
            return ""
        progress = await danger.evict_pods(view.name, leave)
        if progress.done and step.operation is Operation.Drain:
            await self._world.hands.grants.settle(leave, Outcome.Succeeded)
        return f"drains {view.name}: {progress.blocked[0]}" if progress.blocked and not step.overdue else ""

    async def _delete(self, view: MachineView, step: Step) -> str:
        """Read live first: leave to delete what is gone already would be spent for nothing."""
        kind = kinds.NODE if isinstance(step, steps.DeleteNode) else kinds.MACHINE_KIND
        if await self._world.servers.business.get(kind.ref(view.name)) is None:
            return ""
        leave = await self._leave(view, Operation.DeleteMachine, Workflow.decommission)
        if isinstance(leave, str):
            return leave
        if isinstance(step, steps.DeleteNode):
            await self._world.hands.danger.delete_node(view.name, leave)
            return ""
        for report in view.business.reports:  # what was reported of it speaks of nothing any more; that it stays would hurt nobody
            with contextlib.suppress(Forbidden):
                await self._world.servers.business.delete(kinds.CONFIG_MAP.ref(report.name, CONDITIONS_NAMESPACE))
        await self._world.hands.danger.delete_machine(view.name, leave)
        await self._world.hands.grants.settle(leave, Outcome.Succeeded)
        return ""

    async def _leave(self, view: MachineView, operation: Operation, workflow: Workflow, *, ttl: int = 900) -> Grant | str:
        """Leave to act, or why not (yet). Asking again finds the same request."""
        claim, machine, pool = view.owned.mine, view.business.machine, view.wish.pool
        uid = claim.metadata.uid if claim else machine.metadata.uid if machine else ""
        name = claim.spec.pool if claim else pool.metadata.name if pool else ""
        zone = view.wish.host.zone if view.wish.host else claim.spec.connection.zone if claim else ""
        target = Target(kind="Machine", name=view.name, cluster=view.cluster.name, pool=name, zone=zone)
        identity = self._world.identity
        request = GrantRequest(
            identity.namespace,
            operation,
            target,
            uid,
            identity.requester,
            workflow.value,
            GRANT_STEPS[operation],
            0,
            f"{workflow.value} of {view.name}",
            ttl,
            Purpose.Rollback if view.wish.going_back and workflow is Workflow.update else Purpose.Forward,
        )
        answer = await self._world.hands.grants.ask(request)
        return f"waits for leave: {answer.message}" if isinstance(answer, Waiting) else answer

    async def _settle(self, view: MachineView, names: tuple[str, ...], outcome: Outcome) -> str:
        """A Grant that only reports an end: every verb that acts verifies its own anew."""
        for name in names:
            ref = kinds.GRANT.ref(name, self._world.identity.namespace)
            found = self._world.cache.get(ref)
            if found is None:
                continue
            spec = found["spec"]
            target = Target.model_validate(spec["target"])
            grant = Grant(OpId(name), ref.namespace, found["metadata"]["uid"], Operation(spec["operation"]), target)
            await self._world.hands.grants.settle(grant, outcome)
        return ""

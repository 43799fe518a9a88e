"""The machine ladder, rung by rung: what is observed on the left, what is done and why on the right."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.adapters.sim_ssh import report_as_wanted
from operators.api.pending import Effect
from operators.api.risk import Operation, Outcome
from operators.domain.machine import steps
from operators.domain.machine.effects import EffectRules
from operators.domain.machine.host import Owner, PackageReport, UnitReport
from operators.domain.machine.ladder import next_step
from operators.domain.machine.packages import signature_of
from operators.domain.machine.steps import Rung, Workflow
from operators.domain.machine.view import ClusterState, JobPhase, MachineView, Ownership, Wish
from operators.errors import ErrorCode
from tests.unit.operators.domain.machine import builders as b


def stopped(package: Any) -> PackageReport:
    """As wanted, but its unit does not run."""
    whole = report_as_wanted(package)
    return replace(whole, units={name: UnitReport(False, True, unit.sha256) for name, unit in whole.units.items()})


NOTHING = b.report(PackageReport(""), owner=None, kubelet_credentials=False)
FRESH = b.report(owner=None, kubelet_credentials=False, packages={})
KUBELET_DOWN = b.report(report_as_wanted(b.CONTAINERD), stopped(b.KUBELET))
DRAINING = replace(b.KUBELET, effect=b.package("kubelet-1", "kubelet", 30, Effect.Drain).effect)
REBOOTING = replace(b.KUBELET, effect=b.package("kubelet-1", "kubelet", 30, Effect.Reboot).effect)
DRAIN_VIEW = {"desired": (b.CONTAINERD, DRAINING), "probe": b.probe(KUBELET_DOWN), "node": b.node(closed=True)}
CORDONED = {"unschedulable": True, "annotations": {"kok.dev/cordon-claims": "decommission"}}
NEW = {"node": None, "probe": b.probe(FRESH)}

TABLE: list[tuple[str, MachineView, type[steps.Step], str]] = [
    ("right", b.right(), steps.Done, "2 packages match, the node is open"),
    ("paused", b.right(cluster=ClusterState("demo", paused=True), node=b.node(ready="False")), steps.Wait, "is paused"),
    ("cluster gone", b.right(cluster=ClusterState("demo", problem="Cluster demo is not there")), steps.Wait, "not there"),
    ("node not ready", b.right(node=b.node(ready="False")), steps.PatchNode, "closed to new pods: the node is not Ready: runtime is down"),
    ("booted anew", b.right(node=b.node(boot="boot-2")), steps.PatchNode, "booted anew"),
    ("never judged", b.right(node=b.node(opened="")), steps.PatchNode, "closed to new pods"),
    ("differs and restarts", b.right(probe=b.probe(KUBELET_DOWN)), steps.PatchNode, "unit kubelet.service is not running"),
    ("not ready, unreachable", b.right(node=b.node(ready="Unknown"), probe=b.probe(error=b.refused())), steps.PatchNode, "closed"),
    ("obstacle", b.right(owned=Ownership(None, b.claim(namespace="x", pool="blue"))), steps.Wait, "claimed by pool x/blue (host m1"),
    ("not authorised", b.right(wish=replace(b.right().wish, packages=None)), steps.Wait, "waits until its pool authorises"),
    ("no Machine", b.right(machine=None), steps.Wait, "its Machine object is being made"),
    ("no claim", b.right(owned=Ownership()), steps.CreateClaim, "takes host 10.0.0.1:22"),
    ("claim lacks package", b.right(owned=Ownership(b.claim(packages=["kubelet-1"]))), steps.UpdateClaim, "notes what m1 will carry"),
    ("job runs", b.right(job=b.job(JobPhase.Running)), steps.Wait, "applies kubelet-1"),
    ("not probed", b.right(probe=None), steps.Wait, "has not been looked at yet"),
    ("unreachable", b.right(probe=b.probe(error=b.refused())), steps.Wait, "Connection refused"),
    ("another's host", b.right(probe=b.probe(b.report(owner=Owner("claim-9", "c", "blue")))), steps.Wait, "belongs to pool blue"),
    ("fresh, no token", b.right(**NEW), steps.IssueToken, "makes a bootstrap token"),
    ("fresh, old token", b.right(**NEW, token=b.token(expires=b.NOW + timedelta(seconds=30))), steps.IssueToken, "token"),
    ("fresh, token", b.right(**NEW, token=b.token()), steps.ApplyPackages, "applies containerd-1, kubelet-1: containerd is not installed"),
    ("disk full", b.right(node=None, probe=b.probe(replace(FRESH, disk_free_bytes=5 << 20))), steps.Wait, "only 5 MiB of 40960 MiB are free"),
    ("reboot needed", b.right(desired=(b.CONTAINERD, REBOOTING), probe=b.probe(KUBELET_DOWN), node=b.node(closed=True)), steps.Wait, "needs Reboot"),
    ("drain first", b.right(**DRAIN_VIEW, pods=(b.pod(),)), steps.DrainNode, "drains m1: 1 pods to move (default/web)"),
    ("waits for registration", b.right(node=None), steps.Wait, "waits for the kubelet of m1 to register"),
    ("token used", b.right(token=b.token()), steps.DeleteToken, "the kubelet has its certificate"),
    ("lost certificate", b.right(probe=b.probe(b.report(kubelet_credentials=False)), token=b.token()), steps.ApplyPackages, "brings a bootstrap token"),
    ("labels", b.right(wish=replace(b.right().wish, pool=b.pool(b.HOST, labels={"a": "b"}))), steps.PatchNode, "labels and taints"),
    ("own cordon", b.right(node=b.node(unschedulable=True, annotations={"kok.dev/cordon-claims": "update"})), steps.PatchNode, "gives up kok's cordon"),
    ("somebody's cordon", b.right(node=b.node(unschedulable=True)), steps.Done, "match"),
    ("closed and fine", b.right(node=b.node(closed=True)), steps.PatchNode, "opens the node"),
    ("closed, other boot", b.right(node=b.node(closed=True, boot="boot-2")), steps.Wait, "booted anew since it was looked at"),
    ("leftover grant", b.right(grants=(b.grant(Operation.ApplyPackage, "update"),)), steps.SettleGrants, "reports the end"),
    ("unanswered grant", b.right(grants=(b.grant(Operation.ApplyPackage, "update", ago=None),)), steps.Done, "match"),
    ("maintenance", b.right(machine=b.machine(desiredState="Maintenance"), pods=(b.pod(),)), steps.DrainNode, "drains m1"),
    ("in maintenance", b.right(machine=b.machine(desiredState="Maintenance"), pods=(), node=b.node(closed=True, unschedulable=True, annotations={"kok.dev/cordon-claims": "maintenance"})), steps.Done, "in maintenance"),
    ("leaving, pools unclear", b.leaving(wish=Wish(problem="MachinePool x: bad")), steps.Wait, "is kept as it is"),
    ("leaving, pods", b.leaving(pods=(b.pod(),)), steps.DrainNode, "drains m1"),
    ("leaving, pods unread", b.leaving(pods=None), steps.Wait, "have not been read"),
    ("leaving, token", b.leaving(token=b.token()), steps.DeleteToken, "it leaves"),
    ("leaving, drained", b.leaving(node=b.node(**CORDONED)), steps.CleanHost, "cleans m1"),
    ("leaving, drain over", b.leaving(node=b.node(**CORDONED), grants=(b.grant(Operation.Drain, "decommission"),)), steps.SettleGrants, "Succeeded"),
    ("leaving, unreachable", b.leaving(node=b.node(**CORDONED), probe=b.probe(error=b.refused())), steps.Wait, "kok.dev/abandon-host=m1"),
    ("leaving, given up", b.leaving(wish=Wish(abandoned=True), node=b.node(ready="Unknown"), probe=b.probe(error=b.refused()), pods=(b.pod(),)), steps.DeleteNode, "deletes Node"),
    ("leaving, given up but alive", b.leaving(wish=Wish(abandoned=True), probe=b.probe(error=b.refused()), pods=(b.pod(),)), steps.DrainNode, "drains"),
    ("leaving, clean", b.leaving(probe=b.probe(FRESH)), steps.DeleteNode, "its host is clean"),
    ("leaving, clean before the job", b.leaving(probe=b.probe(FRESH, at=b.NOW - timedelta(seconds=9)), job=b.job(), node=b.node(**CORDONED)), steps.Wait, "has not been looked at"),
    ("leaving, no node", b.leaving(probe=b.probe(FRESH), node=None), steps.DeleteMachine, "deletes Machine"),
    ("leaving, no Machine", b.leaving(probe=b.probe(FRESH), node=None, machine=None), steps.ReleaseClaim, "gives back host 10.0.0.1:22"),
    ("leaving, somebody else's now", b.leaving(probe=b.probe(b.report(owner=Owner("claim-9", "c", "blue"))), node=None), steps.DeleteMachine, "Machine"),
    ("cluster deleting", b.leaving(cluster=ClusterState("demo", deleting=True), pods=(b.pod(),)), steps.CleanHost, "cleans m1"),
    ("stray Machine", b.leaving(owned=Ownership(), node=None, probe=None), steps.DeleteMachine, "deletes Machine"),
    ("other pool object", b.right(owned=Ownership(b.claim(poolUid="pool-0")), pods=(b.pod(),)), steps.DrainNode, "drains"),
    ("other address", b.right(owned=Ownership(b.claim(address="10.0.0.9")), pods=(b.pod(),)), steps.DrainNode, "drains"),
    ("decommissioned by the business", b.right(machine=b.machine(desiredState="Decommissioned"), probe=b.probe(FRESH), node=None, pods=()), steps.Wait, "is decommissioned and clean"),
]  # fmt: skip


@pytest.mark.parametrize(("view", "step", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_should_choose_this_step_for_these_words(view: MachineView, step: type[steps.Step], words: str) -> None:
    chosen = next_step(view)
    assert isinstance(chosen, step), chosen
    assert words in chosen.reason


def test_should_apply_only_what_differs_and_everything_of_it_in_one_job() -> None:
    view = b.right(probe=b.probe(b.report(stopped(b.CONTAINERD), stopped(b.KUBELET))), node=b.node(closed=True))
    step = next_step(view)
    assert isinstance(step, steps.ApplyPackages)
    assert [package.name for package in step.packages] == ["containerd-1", "kubelet-1"]
    assert (step.bootstrap, step.needs_grant, step.after) == (False, False, None)


def test_should_remove_what_the_host_has_and_nobody_wants() -> None:
    extra = PackageReport("sysctl", name="sysctl-1")
    view = b.right(probe=b.probe(b.report(report_as_wanted(b.CONTAINERD), report_as_wanted(b.KUBELET), extra)), node=b.node(closed=True))
    step = next_step(replace(view, rules=EffectRules(removals={"sysctl-1": Effect.Restart})))
    assert isinstance(step, steps.ApplyPackages)
    assert (step.packages, step.remove) == ((), ("sysctl",))
    assert isinstance(next_step(replace(view, business=replace(view.business, pods=(b.pod(),)))), steps.DrainNode), (
        "nobody knows what it does"
    )


def test_should_need_leave_for_a_change_that_drains_and_drain_before_it() -> None:
    drained = b.node(closed=True, unschedulable=True, annotations={"kok.dev/cordon-claims": "update"})
    step = next_step(b.right(**{**DRAIN_VIEW, "node": drained}, pods=()))
    assert isinstance(step, steps.ApplyPackages)
    assert step.needs_grant
    before = next_step(b.right(**DRAIN_VIEW, pods=(b.pod(),)))
    assert isinstance(before, steps.DrainNode)
    assert (before.operation, before.workflow, before.evict) == (Operation.ApplyPackage, Workflow.update, False)


def test_should_say_of_what_would_drain_that_only_the_missing_node_makes_it_harmless() -> None:
    """So that it is judged again at its turn; what never drains is not."""
    drains = next_step(b.right(**{**DRAIN_VIEW, "node": None}, pods=()))
    assert isinstance(drains, steps.ApplyPackages)
    assert (drains.needs_grant, drains.spares_nobody) == (False, True)
    mends = next_step(b.right(probe=b.probe(KUBELET_DOWN), node=None))
    assert isinstance(mends, steps.ApplyPackages)
    assert (mends.needs_grant, mends.spares_nobody) == (False, False)


@pytest.mark.parametrize("failed", [True, False])
def test_should_report_a_run_that_failed_under_leave_before_it_pauses(failed: bool) -> None:
    """The control: of a run that ended well nothing is reported while the host still differs; it may be looked at again in a moment."""
    drained = b.node(closed=True, unschedulable=True, annotations={"kok.dev/cordon-claims": "update"})
    view = b.right(**{**DRAIN_VIEW, "node": drained}, pods=(), grants=(b.grant(Operation.ApplyPackage, "update"),))
    first = next_step(view)
    assert isinstance(first, steps.ApplyPackages)
    paused = replace(view, job=b.job(signature=first.signature, failed=failed, message="task 'x' failed: no space"))
    step = next_step(paused)
    if not failed:
        assert isinstance(step, steps.Wait)
        return
    assert isinstance(step, steps.SettleGrants)
    assert (step.grants, step.outcome, "no space" in step.reason) == (("applypackage-m1",), Outcome.Failed, True)
    assert isinstance(next_step(replace(paused, grants=())), steps.Wait), "once"


def test_should_need_no_leave_for_a_first_installation() -> None:
    step = next_step(b.right(desired=(b.CONTAINERD, DRAINING), probe=b.probe(FRESH), node=None, token=b.token()))
    assert isinstance(step, steps.ApplyPackages)
    assert not step.needs_grant


@pytest.mark.parametrize(("tries", "pause"), [(1, 5), (2, 10), (3, 20), (10, 300), (99, 300)])
def test_should_pause_longer_after_each_failure_of_the_same_work(tries: int, pause: float) -> None:
    view = b.right(probe=b.probe(KUBELET_DOWN), node=b.node(closed=True))
    first = next_step(view)
    assert isinstance(first, steps.ApplyPackages)
    failed = b.job(signature=first.signature, tries=tries, failed=True, message="task 'x' failed: no space")
    waiting = next_step(replace(view, job=failed))
    assert isinstance(waiting, steps.Wait)
    assert (waiting.after, waiting.stalled) == (pause, ErrorCode.AnsibleFailed)
    assert "no space" in waiting.reason
    assert isinstance(next_step(replace(view, job=failed, now=b.NOW + timedelta(seconds=pause))), steps.ApplyPackages)
    assert isinstance(next_step(replace(view, job=replace(failed, signature="other work"))), steps.ApplyPackages), (
        "other work is not paused"
    )


def test_should_ask_again_and_blame_nobody_when_leave_ran_out_while_the_work_waited() -> None:
    view = b.right(probe=b.probe(KUBELET_DOWN), node=b.node(closed=True))
    first = next_step(view)
    assert isinstance(first, steps.ApplyPackages)
    withheld = b.job(JobPhase.Withheld, signature=first.signature, tries=0, message="its leave ran out")
    waiting = next_step(replace(view, job=withheld))
    assert isinstance(waiting, steps.Wait)
    assert (waiting.reason, waiting.stalled) == ("its leave ran out", None)
    assert waiting.after
    assert isinstance(next_step(replace(view, job=withheld, now=b.NOW + timedelta(seconds=waiting.after))), steps.ApplyPackages)


def test_should_stop_waiting_at_the_drain_deadline_only_when_a_person_says_so() -> None:
    given = b.grant(Operation.Drain, "decommission", ago=1000)
    overdue = b.leaving(node=b.node(**CORDONED), pods=(b.pod(marked=True),), grants=(given,))
    step = next_step(overdue)
    assert isinstance(step, steps.DrainNode)
    assert step.overdue
    assert "kok.dev/force-drain=m1" in step.reason
    forced = next_step(replace(overdue, wish=Wish(force_drain=True)))
    assert not isinstance(forced, steps.DrainNode)


def test_should_mark_pods_before_the_first_eviction() -> None:
    unmarked = next_step(b.leaving(node=b.node(**CORDONED), pods=(b.pod("a", marked=True), b.pod("b"))))
    marked = next_step(b.leaving(node=b.node(**CORDONED), pods=(b.pod("a", marked=True), b.pod("b", marked=True))))
    assert isinstance(unmarked, steps.DrainNode)
    assert isinstance(marked, steps.DrainNode)
    assert (unmarked.evict, marked.evict) == (False, True)


@pytest.mark.parametrize(("phase", "outcome"), [(JobPhase.Finished, "Failed"), (JobPhase.Withheld, "Cancelled")])
def test_should_settle_a_cleaning_that_failed_or_was_not_begun_before_it_waits(phase: JobPhase, outcome: str) -> None:
    view = b.leaving(node=b.node(**CORDONED), grants=(b.grant(Operation.DeleteMachine, "decommission"),))
    failed = b.job(
        phase,
        signature=signature_of(view, ("clean",)),
        failed=phase is JobPhase.Finished,
        message="task failed",
        since=b.NOW - timedelta(seconds=1),
    )
    view = replace(view, job=failed)
    step = next_step(view)
    assert isinstance(step, steps.SettleGrants)
    assert step.outcome.value == outcome
    assert isinstance(next_step(replace(view, grants=())), steps.Wait)


def test_should_wait_for_the_certificate_request_once_the_token_is_on_the_host() -> None:
    view = b.right(probe=b.probe(b.report(kubelet_credentials=False)), token=b.token(), job=b.job(bootstrap="digest"))
    step = next_step(view)
    assert isinstance(step, steps.Wait)
    assert step.rung is Rung.Registering

"""What a change does, known before; what is shown as pending and as repaired; what a person's uncordon cancels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.adapters.sim_ssh import report_as_wanted
from operators.api.packages import MachinePackageVersion
from operators.api.pending import Effect, PendingChange
from operators.api.pools import KubeletMinor
from operators.api.risk import Operation, Outcome
from operators.domain.machine import steps
from operators.domain.machine.effects import EffectRules, PackageChange, changes_between, effect_on_host, refusal_of
from operators.domain.machine.host import PackageReport, UnitReport
from operators.domain.machine.ladder import next_step
from operators.domain.machine.pending import pending_changes, sum_of
from operators.domain.machine.repairs import repairs_of
from operators.errors import ErrorCode
from tests.unit.operators.domain.machine import builders as b

DRAIN, IN_PLACE = EffectRules(), EffectRules(KubeletMinor.InPlace)
NOTE = "kok.dev/cancelled-drains"
CLAIMED = {"kok.dev/cordon-claims": "update"}


def mpv(name: str, component: str = "kubelet", version: str = "1.35.4", **spec: Any) -> MachinePackageVersion:
    head = {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", "metadata": {"name": name}}
    return MachinePackageVersion.parse({**head, "spec": {"component": component, "version": version, **spec}})


CATALOGUE = {
    each.metadata.name: each
    for each in (
        mpv("kubelet-34", version="1.34.9"),
        mpv("kubelet-35"),
        mpv("kubelet-35-r2", effect={"configuration": "Reload"}),
        mpv("kubelet-353", version="1.35.3"),
        mpv("early", "early", "1", order=1, effect={"removal": "None"}),
        mpv("late", "late", "1", order=200, effect={"install": "Reload"}),
    )
}


@pytest.mark.parametrize(
    ("before", "after", "rules", "found"),
    [
        (["kubelet-35"], ["kubelet-35"], DRAIN, []),
        (["kubelet-353"], ["kubelet-35"], DRAIN, [("kubelet", Effect.Restart)]),
        (["kubelet-34"], ["kubelet-35"], DRAIN, [("kubelet", Effect.Drain)]),
        (["kubelet-35"], ["kubelet-34"], DRAIN, [("kubelet", Effect.Drain)]),
        (["kubelet-34"], ["kubelet-35"], IN_PLACE, [("kubelet", Effect.Restart)]),
        (["kubelet-35"], ["kubelet-35-r2"], DRAIN, [("kubelet", Effect.Reload)]),
        ([], ["late"], DRAIN, [("late", Effect.Reload)]),
        (["early", "late"], [], DRAIN, [("late", Effect.Restart), ("early", Effect.NoEffect)]),
        (["forgotten"], ["late"], DRAIN, [("late", Effect.Restart)]),
    ],
)
def test_should_know_what_a_change_does_from_the_packages_alone(
    before: list[str], after: list[str], rules: EffectRules, found: list[tuple[str, Effect]]
) -> None:
    assert [(each.component, each.effect) for each in changes_between(before, after, CATALOGUE, rules)] == found


@pytest.mark.parametrize(
    ("report", "effect"),
    [
        (PackageReport(""), Effect.NoEffect),
        (report_as_wanted(b.KUBELET), Effect.Reload),
        (replace(report_as_wanted(b.KUBELET), name="kubelet-0"), Effect.Reload),
        (replace(report_as_wanted(b.KUBELET), version="0.9"), Effect.Drain),
        (replace(report_as_wanted(b.KUBELET), name=""), Effect.Restart),
        (PackageReport("", units={"kubelet.service": UnitReport(active=True)}), Effect.Restart),
    ],
    ids=["absent", "edited", "another revision", "another minor", "cut", "runs without a record"],
)
def test_should_know_what_a_change_does_on_a_host(report: PackageReport, effect: Effect) -> None:
    effects = b.KUBELET.effect.model_copy(update={"configuration": Effect.Reload, "version": Effect.Restart})
    assert effect_on_host(replace(b.KUBELET, effect=effects), report, DRAIN) is effect


def test_should_forbid_the_first_that_hurts_too_much() -> None:
    changes = (PackageChange("a", "a-1", "a-2", Effect.Restart), PackageChange("b", "b-1", "", Effect.Drain))
    assert refusal_of(changes, Effect.Drain) == ""
    assert refusal_of(changes, Effect.Restart).startswith("b-1 -> nothing needs Drain, update.maxEffect allows Restart")


def with_update(**update: Any) -> Any:
    return replace(b.right().wish, pool=b.pool(b.HOST, update=update))


def test_should_not_touch_a_host_whose_pool_forbids_it_and_leave_it_open() -> None:
    installed = b.report(report_as_wanted(b.CONTAINERD), replace(report_as_wanted(b.KUBELET), name="kubelet-0", version="0.9"))
    view = b.right(probe=b.probe(installed), wish=with_update(maxEffect="Restart"))
    step = next_step(view)
    assert isinstance(step, steps.Wait)
    assert step.stalled is ErrorCode.EffectRefused
    (change,) = pending_changes(view)
    assert (change.from_, change.to, change.effect) == ("kubelet-0", "kubelet-1", Effect.Drain)
    assert "update.maxEffect allows Restart" in change.waits


def test_should_show_what_the_pool_wishes_and_nobody_authorised() -> None:
    view = b.right(planned=(PackageChange("kubelet", "kubelet-1", "kubelet-2", Effect.Restart),))
    (change,) = pending_changes(view)
    assert (change.from_, change.to, change.waits) == ("kubelet-1", "kubelet-2", "waits until pool workers authorises it")
    assert pending_changes(b.right()) == ()
    assert pending_changes(b.leaving()) == ()
    other = PendingChange.model_validate({"component": "kubelet", "from": "kubelet-1", "to": "kubelet-2", "effect": "Drain"})
    (counted,) = sum_of((change, other))
    assert (counted.hosts, counted.effect) == (2, Effect.Drain)


def test_should_record_what_was_put_back_once() -> None:
    stopped = replace(report_as_wanted(b.KUBELET), units={"kubelet.service": UnitReport(False, True)})
    broken = b.right(probe=b.probe(b.report(report_as_wanted(b.CONTAINERD), stopped)), node=b.node(closed=True))
    step = next_step(broken)
    assert isinstance(step, steps.ApplyPackages)
    assert step.reason == "puts back kubelet-1: unit kubelet.service is not running"
    begun = repairs_of((), broken, step)
    assert [(each.component, each.put_back_at) for each in begun] == [("kubelet", None)]
    assert repairs_of(begun, broken, step) == begun, "another try is the same repair"
    over = repairs_of(begun, b.right(), next_step(b.right()))
    assert over[0].put_back_at == "2026-03-01T12:00:00Z"
    assert repairs_of(over, b.right(now=b.NOW.replace(hour=13)), next_step(b.right())) == over


def test_should_not_call_an_update_a_repair() -> None:
    newer = replace(report_as_wanted(b.KUBELET), name="kubelet-0")
    view = b.right(probe=b.probe(b.report(report_as_wanted(b.CONTAINERD), newer)), node=b.node(closed=True))
    step = next_step(view)
    assert step.reason.startswith("applies kubelet-1")
    assert repairs_of((), view, step) == ()


def draining(**changes: Any) -> Any:
    """A kubelet of another minor is to come."""
    old = replace(report_as_wanted(b.KUBELET), name="kubelet-0", version="0.9")
    return b.right(**{"probe": b.probe(b.report(report_as_wanted(b.CONTAINERD), old)), "pods": (b.pod(marked=True),), **changes})


def damaged(component: Any) -> Any:
    """As wanted, but its unit was stopped by hand."""
    return replace(report_as_wanted(component), units={f"{component.component}.service": UnitReport(active=False, enabled=True)})


def test_should_put_the_runtime_back_before_a_drain_that_cannot_end_without_it() -> None:
    old = replace(report_as_wanted(b.KUBELET), name="kubelet-0", version="0.9")
    report = b.report(damaged(b.CONTAINERD), old)
    view = draining(probe=b.probe(report), node=b.node(closed=True, unschedulable=True, annotations=CLAIMED))
    step = next_step(view)
    assert isinstance(step, steps.ApplyPackages)
    assert step.reason == "puts back containerd-1: unit containerd.service is not running"
    assert not step.needs_grant
    tried = replace(view, job=b.job(signature=step.signature))
    assert isinstance(next_step(tried), steps.DrainNode), "tried once; the run after the drain does all of it"
    assert isinstance(next_step(draining(node=view.node)), steps.DrainNode)


def test_should_not_put_back_by_itself_what_needs_the_drain_too() -> None:
    old = replace(report_as_wanted(b.KUBELET), name="kubelet-0", version="0.9")
    hurting = b.package("containerd-1", "containerd", 10, Effect.Drain)
    view = draining(probe=b.probe(b.report(damaged(hurting), old)), desired=(hurting, b.KUBELET), node=b.node(closed=True))
    assert isinstance(next_step(view), steps.DrainNode)


def test_should_cancel_what_was_queued_when_a_person_uncordons() -> None:
    noted = next_step(draining(node=b.node(annotations=CLAIMED)))
    assert isinstance(noted, steps.PatchNode)
    annotations: Any = noted.patch["metadata"]
    note = annotations["annotations"][NOTE]
    assert annotations["annotations"]["kok.dev/cordon-claims"] is None
    assert "spec" not in noted.patch
    node = b.node(annotations={NOTE: note})
    held = (b.grant(Operation.ApplyPackage, "update"),)
    assert isinstance(next_step(draining(node=node, grants=held)), steps.UnmarkPods)
    settles = next_step(draining(node=node, grants=held, pods=(b.pod(),)))
    assert isinstance(settles, steps.SettleGrants)
    assert settles.outcome is Outcome.Cancelled
    rests = next_step(draining(node=node, pods=(b.pod(),)))
    assert isinstance(rests, steps.Wait)
    assert rests.stalled is ErrorCode.DrainCancelled
    assert f"kubectl annotate node m1 {NOTE}-" in rests.reason


def test_should_drain_again_for_other_work_and_forget_what_nobody_wants() -> None:
    stale = b.node(annotations={NOTE: "update=otherwork"})
    assert isinstance(next_step(draining(node=stale)), steps.DrainNode)
    forgets = next_step(b.right(node=stale))
    assert isinstance(forgets, steps.PatchNode)
    assert forgets.patch == {"metadata": {"annotations": {NOTE: None}}}

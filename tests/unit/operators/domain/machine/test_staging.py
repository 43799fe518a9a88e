"""What is staged on a host ahead of a change: decided from what was seen, beside the ladder."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.adapters.sim_ssh import report_as_wanted
from operators.api.packages import Artifact
from operators.api.pools import StagingWish
from operators.domain.machine import staging
from operators.domain.machine.host import HostReport, Owner
from operators.domain.machine.ladder import next_step
from operators.domain.machine.staging import condition_of, is_settled, next_staging, packages_ahead, staged_of
from operators.domain.machine.status import verdict_of
from operators.domain.machine.steps import ApplyPackages, CleanHost, Done, Rung, Step
from operators.domain.machine.view import Ahead, JobPhase, MachineView, PackageAhead
from tests.unit.operators.domain.machine.builders import KUBELET, NOW, claim, job, leaving, package, probe, refused, report, right

DONE = Done(reason="fine", rung=Rung.Open)
A, B, OTHER = "a" * 64, "b" * 64, "c" * 64


def artifact(digest: str) -> Artifact:
    return Artifact.model_validate({"name": digest[0], "sha256": digest, "as": "File", "path": "/x"})


NEXT = PackageAhead("kubelet-2", "kubelet", (artifact(A), artifact(B)))


def ahead(view: MachineView | None = None, **changes: Any) -> MachineView:
    """A machine in service for which a rollout wants the next kubelet staged."""
    wanted = Ahead((NEXT,), keep=frozenset({A, B}), is_known=True)
    return replace(view or right(), ahead=replace(wanted, **changes))


def having(*digests: str, staged: tuple[str, ...] = ()) -> HostReport:
    return report(stored=frozenset(digests), staged=frozenset(staged))


def work(view: MachineView, step: Step = DONE) -> tuple[str, ...]:
    due = next_staging(view, step)
    return tuple(each.sha256 for each in due.artifacts) if due else ()


def test_should_stage_what_the_host_lacks_and_nothing_that_it_has() -> None:
    assert work(ahead()) == (A, B)
    assert work(ahead(right(probe=probe(having(A))))) == (B,)
    assert next_staging(ahead(right(probe=probe(having(A, B)))), DONE) is None


def test_should_stage_nothing_of_what_is_installed() -> None:
    installed = report(report_as_wanted(package("kubelet-2", "kubelet", 30)))
    assert next_staging(ahead(right(probe=probe(installed))), DONE) is None
    assert staged_of(ahead(right(probe=probe(installed))))[0].is_there


def test_should_share_a_run_with_hosts_that_lack_the_same() -> None:
    one, two = (next_staging(ahead(view), DONE) for view in (right(), right(name="m2")))
    assert one
    assert two
    assert one.join == two.join
    assert one.signature != two.signature


def test_should_take_out_what_was_staged_and_is_wanted_no_more() -> None:
    view = right(probe=probe(having(OTHER, A, staged=(OTHER,))))
    due = next_staging(replace(view, ahead=Ahead(keep=frozenset({A}), is_known=True)), DONE)
    assert due
    assert (due.artifacts, due.keep) == ((), (A,))
    assert next_staging(replace(view, ahead=Ahead(keep=frozenset({OTHER}), is_known=True)), DONE) is None


def test_should_take_nothing_out_while_it_is_not_known_what_is_wanted() -> None:
    view = right(probe=probe(having(OTHER, staged=(OTHER,))))
    assert next_staging(view, DONE) is None
    assert not is_settled(view)


NOT_OURS = replace(having(), owner=Owner("claim-9", "demo", "workers", 1))


@pytest.mark.parametrize(
    "view",
    [
        right(probe=None),
        right(probe=probe(error=refused())),
        right(probe=probe(NOT_OURS)),
        right(probe=probe(replace(having(), owner=None))),
        right(job=job(JobPhase.Running)),
        replace(right(), owned=replace(right().owned, mine=None)),
        replace(right(), owned=replace(right().owned, obstacle=claim())),
        replace(right(), cluster=replace(right().cluster, paused=True)),
        replace(right(), cluster=replace(right().cluster, problem="it cannot be read")),
        leaving(),
    ],
)
def test_should_stage_nothing_where_it_is_no_moment_for_it(view: MachineView) -> None:
    assert next_staging(ahead(view), DONE) is None


def test_should_stage_nothing_beside_a_play_that_begins() -> None:
    apply = ApplyPackages(reason="", packages=(KUBELET,), remove=(), signature="s", join="j", bootstrap=False)
    assert next_staging(ahead(), apply) is None
    assert next_staging(ahead(), CleanHost(reason="", packages=(), signature="s")) is None


def test_should_look_again_before_another_run() -> None:
    due = next_staging(ahead(), DONE)
    assert due
    running = job(JobPhase.Running, signature=due.signature)
    assert next_staging(ahead(job=running), DONE) is None
    ended = job(since=NOW + timedelta(seconds=1), signature="other")
    assert next_staging(ahead(job=ended), DONE) is None, "what it did was not seen yet"
    assert work(ahead(right(probe=probe(at=NOW + timedelta(seconds=1))), job=ended)) == (A, B)


def test_should_try_again_after_growing_pauses() -> None:
    due = next_staging(ahead(), DONE)
    assert due
    for tries, seconds in ((1, 5), (3, 20), (9, 300)):
        failed = job(signature=due.signature, failed=True, tries=tries, message="disk full")
        early, late = (right(now=NOW + timedelta(seconds=seconds + more)) for more in (-1, 1))
        assert next_staging(ahead(early, job=failed), DONE) is None
        assert work(ahead(late, job=failed)) == (A, B)


def test_should_leave_the_machine_as_ready_as_it_is() -> None:
    failed = job(failed=True, message="disk full")
    for view in (ahead(), ahead(job=failed), ahead(right(probe=probe(having(A, B))))):
        step = next_step(view)
        verdict = verdict_of(view, step, "")
        assert isinstance(step, Done)
        assert (verdict.is_open, verdict.is_stalled) == (True, False)


def test_should_say_how_far_it_is_and_why_not_further() -> None:
    def told(view: MachineView) -> tuple[bool | None, str, str]:
        found = condition_of(view)
        assert found
        return found.status, found.reason, found.message

    assert condition_of(right()) is None
    assert told(ahead()) == (False, "Staging", "the artifacts of kubelet-2 are on their way")
    assert told(ahead(job=job(failed=True, message="disk full")))[1:] == (
        "NotStaged",
        "disk full; it is tried again, and nothing waits for it",
    )
    assert told(ahead(right(probe=probe(error=refused()))))[2].startswith("m1 (10.0.0.1:22): Connection refused; it is tried again")
    assert told(ahead(unknown=("gone-1",)))[1:] == (
        "NotStaged",
        "MachinePackageVersion gone-1 is not in the meta cluster; it is tried again, and nothing waits for it",
    )
    assert told(ahead(right(probe=probe(having(A, B)))))[:2] == (True, "Staged")


def test_should_hear_only_wishes_that_have_not_run_out() -> None:
    def wish(rollout: str, seconds: int, *names: str) -> StagingWish:
        return StagingWish(rollout=rollout, packages=names, until=(NOW + timedelta(seconds=seconds)).isoformat())

    wishes = [wish("b", 60, "kubelet-2", "x-1"), wish("a", 60, "kubelet-2"), wish("old", 0, "gone-1")]
    assert packages_ahead(wishes, NOW) == ("kubelet-2", "x-1")


def test_should_not_believe_a_run_that_ended() -> None:
    """Positive control is below: what is there is what a look found."""
    assert not staged_of(ahead(job=job(failed=False)))[0].is_there


def test_should_notice_who_believes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "lacking", lambda package, report: ())
    assert staged_of(ahead(job=job(failed=False)))[0].is_there

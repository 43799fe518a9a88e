"""The rungs of a change of version: when a wish is authorised, when a hop moves, waits, turns and ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.api.cluster_release import AuthorisedBy, ClusterRelease, Direction, HopStage
from operators.api.packages import ClusterPackageVersion
from operators.api.risk import Purpose
from operators.domain.plane import steps
from operators.domain.plane.drift import ObjectId, stamped
from operators.domain.plane.hops import purpose_of
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.ladder import next_step
from operators.domain.plane.paths import Kubelet
from operators.domain.plane.release import release_manifest
from operators.domain.plane.release_steps import AuthoriseVersion, BeginHop, EndHop, MoveHop, TurnHop, WriteRelease
from operators.domain.plane.soak import alpha_in, soak_left, words_of_left
from operators.domain.plane.status import status_of
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.domain.plane.view import BusinessApi, PlaneView, Unknown, Workload
from operators.domain.risk.identity import stamp
from operators.domain.rollout.bad import BadMark
from operators.errors import ErrorCode
from tests.unit.operators.domain.plane.planes import NOW, cluster, manifest, never_lived, package, right, with_changed

OLD, PATCH, NEW, FAR = "kubernetes-1.34.4-r1", "kubernetes-1.35.3-r1", "kubernetes-1.35.4-r1", "kubernetes-1.37.0-r1"


def packages(*names: str) -> dict[str, ClusterPackageVersion]:
    found = {}
    for name in names:
        base = package()
        version = name.removeprefix("kubernetes-").removesuffix("-r1")
        found[name] = base.model_copy(
            update={
                "metadata": base.metadata.model_copy(update={"name": name}),
                "spec": base.spec.model_copy(update={"kubernetes_version": version}),
            }
        )
    return found


def facts(**changes: Any) -> UpgradeFacts:
    return replace(UpgradeFacts(packages(OLD, PATCH, NEW, FAR)), **changes)


def hop(lower: str, upper: str, direction: Direction, stage: HopStage, **more: Any) -> dict[str, Any]:
    minor = "1.34" if lower == OLD and upper != OLD else ""
    at = stamp(NOW - timedelta(seconds=60))
    return {
        "lower": lower,
        "upper": upper,
        "emulated": minor,
        "direction": direction,
        "stage": stage,
        "startedAt": at,
        "stageSince": at,
        **more,
    }


def release(current: str, *, reached: str = "", hop: dict[str, Any] | None = None) -> ClusterRelease:
    spec: dict[str, Any] = {"current": {"packageVersion": current, "by": "Spec", "at": stamp(NOW), "reason": "the spec asks for it"}}
    spec |= {"reached": reached or current} | ({"hop": hop} if hop else {})
    metadata = {"name": "demo", "namespace": "demo", "resourceVersion": "7"}
    return ClusterRelease.parse({"apiVersion": "kok.dev/v1alpha1", "kind": "ClusterRelease", "metadata": metadata, "spec": spec})


def view(wish: str, at: ClusterRelease, *, spec: dict[str, Any] | None = None, **changes: Any) -> PlaneView:
    """A plane that is whole, with that wish and that release."""
    wanted = {"packageVersion": wish, **(spec or {})}
    return right(cluster=cluster(**wanted), release=at, **{"upgrade": facts(), **changes})


def going(direction: Direction, stage: HopStage, *, lower: str = OLD, reached: str = "", **changes: Any) -> PlaneView:
    """A plane in the middle of a hop to or from NEW."""
    target = NEW if direction is Direction.Up else lower
    reached = reached or (lower if direction is Direction.Up else NEW)
    return view(target, release(target, reached=reached, hop=hop(lower, NEW, direction, stage)), **changes)


UP, DOWN, S = Direction.Up, Direction.Down, HopStage
DAEMON_SET: Manifest = stamped({**manifest("ConfigMap", "demo-prepull", "prepull"), "apiVersion": "apps/v1", "kind": "DaemonSet"})


def test_should_authorise_a_wish_at_once_with_direct() -> None:
    step = next_step(view(NEW, release(OLD)))
    assert isinstance(step, AuthoriseVersion)
    assert (step.spec.current.package_version, step.spec.current.from_version, step.spec.reached) == (NEW, OLD, OLD)
    assert step.spec.history[0].package_version == OLD


def test_should_remember_no_more_than_twenty_authorisations() -> None:
    at = release(OLD)
    full = at.model_copy(update={"spec": at.spec.model_copy(update={"history": (at.spec.current,) * 20})})
    step = next_step(view(NEW, full))
    assert isinstance(step, AuthoriseVersion)
    assert len(step.spec.history) == 20


def test_should_leave_a_wish_to_a_rollout_where_the_policy_says_so() -> None:
    seen = view(NEW, release(OLD), spec={"changePolicy": "RolloutOnly"}, upgrade=None)
    step = next_step(seen)
    assert isinstance(step, steps.Done)
    condition = next(each for each in status_of(seen, step, None)["conditions"] if each["type"] == "ReleaseMatchesWish")
    assert (condition["status"], condition["reason"]) == ("False", "RolloutNeeded")
    assert "exists" not in condition["message"]


def test_should_say_that_a_wish_that_waits_for_a_rollout_names_nothing() -> None:
    seen = view("none", release(OLD), spec={"changePolicy": "RolloutOnly"}, upgrade=None)
    status = status_of(replace(seen, wish_missing=True), steps.Done(""), None)
    (condition,) = (each for each in status["conditions"] if each["type"] == "ReleaseMatchesWish")
    assert condition["message"].endswith("no ClusterPackageVersion none exists: commit it, or correct spec.packageVersion")


@pytest.mark.parametrize(
    ("seen", "code", "says"),
    [
        (view(FAR, release(OLD)), "UpgradeRefused", f"the nearest that is allowed is {NEW}"),
        (view("none", release(OLD)), "PackageMissing", "ClusterPackageVersion none does not exist"),
        (view(NEW, release(OLD), upgrade=facts(kubelets=(Kubelet("n-1", (1, 31, 2)),))), "UpgradeRefused", "node n-1 runs kubelet 1.31.2"),
        (view(NEW, release(OLD), spec={"flags": {"apiserver": {"feature-gates": "AllAlpha=true"}}}), "UpgradeRefused", "asks for alpha"),
    ],
)
def test_should_refuse_in_words_and_release_nothing(seen: PlaneView, code: str, says: str) -> None:
    step = next_step(seen)
    assert isinstance(step, steps.Stall)
    assert (str(step.code), says in step.reason) == (code, True)


MARK = BadMark(NEW, "train-7", "stage canary failed: no pods.", "jane", "2026-03-01T11:00:00Z")
WORDS = (
    "spec.packageVersion: kubernetes-1.35.4-r1 was found bad by rollout train-7 (jane, 2026-03-01T11:00:00Z: stage canary failed: no pods); "
    "make a new version, or, if the version was not to blame, annotate it with kok.dev/not-bad: 'train-7: REASON'"
)


def test_should_refuse_a_wish_that_a_rollout_found_bad_and_leave_a_plane_alone_that_has_it() -> None:
    marked = facts(bad={NEW: MARK})
    assert next_step(view(NEW, release(OLD), upgrade=marked)) == steps.Stall(ErrorCode.VersionBad, WORDS)
    assert isinstance(next_step(view(NEW, release(OLD))), AuthoriseVersion)
    assert isinstance(next_step(view(NEW, release(NEW), upgrade=marked)), steps.Done)
    assert isinstance(next_step(view(OLD, release(OLD, reached=NEW), upgrade=marked)), BeginHop), "away from it"
    assert isinstance(next_step(view(NEW, release(NEW, reached=OLD), upgrade=marked)), BeginHop), "what was authorised before goes on"


def test_should_not_let_a_plane_begin_at_what_a_rollout_found_bad() -> None:
    born = never_lived(upgrade=facts(bad={NEW: MARK}))
    assert next_step(born) == steps.Stall(ErrorCode.VersionBad, WORDS)
    assert isinstance(next_step(replace(born, upgrade=facts())), steps.Admit)
    unknown = next_step(replace(born, upgrade=facts(bad_unknown="503")))
    assert isinstance(unknown, steps.Wait)
    lost = right(release=None, upgrade=None)
    assert isinstance(next_step(lost), steps.Authorise), "a plane that lives and lost its release is not asked"


def test_should_wait_while_it_is_not_known_whether_a_wish_was_found_bad() -> None:
    step = next_step(view(NEW, release(OLD), upgrade=facts(bad_unknown="the journals cannot be read: 503")))
    assert isinstance(step, steps.Wait)
    assert step.reason == f"whether a rollout found {NEW} bad is not known: the journals cannot be read: 503"


def test_should_go_round_a_bad_version_and_through_it_only_where_it_is_authorised() -> None:
    between, goal = "kubernetes-1.36.1-r1", "kubernetes-1.37.0-r1"
    clean = "kubernetes-1.36.0-r1"
    mark = replace(MARK, version=between)
    both = facts(packages=packages(NEW, clean, between, goal), bad={between: mark})
    step = next_step(view(goal, release(NEW), upgrade=both))
    assert isinstance(step, AuthoriseVersion)
    assert f"by way of {clean}" in step.reason
    only = facts(packages=packages(NEW, between, goal), bad={between: mark})
    refused = next_step(view(goal, release(NEW), upgrade=only))
    assert isinstance(refused, steps.Stall)
    assert f"every way to {goal} leads through a version that was found bad: {between} was found bad by rollout train-7" in refused.reason
    assert isinstance(next_step(view(goal, release(goal, reached=NEW), upgrade=only)), BeginHop)


def test_should_wait_when_the_nodes_are_not_known_on_the_way_up() -> None:
    step = next_step(view(NEW, release(OLD), upgrade=facts(kubelets_unknown="its nodes cannot be read: 503")))
    assert isinstance(step, steps.Wait)
    assert "its nodes cannot be read: 503" in step.reason


def test_should_repair_before_it_refuses() -> None:
    seen = view(FAR, release(OLD), objects=with_changed("Deployment", "demo-scheduler", replicas=0))
    assert isinstance(next_step(seen), steps.ApplyObjects)


def test_should_begin_only_with_a_plane_that_is_whole_on_the_way_up() -> None:
    assert isinstance(next_step(view(NEW, release(NEW, reached=OLD))), BeginHop)
    sick = {"scheduler": Workload("scheduler", wanted=1, ready=0, settled=True)}
    workloads = {**right().workloads, **sick}
    assert isinstance(next_step(view(NEW, release(NEW, reached=OLD), workloads=workloads)), steps.Wait)
    back = next_step(view(OLD, release(OLD, reached=NEW), workloads=workloads))
    assert isinstance(back, BeginHop), "a sick plane may go back"


def test_should_prepare_before_anything_moves() -> None:
    wanting = going(UP, S.Prepare, upgrade=facts(preparation=(DAEMON_SET,), unprepared="images are pulled first: 0 of 3"))
    assert isinstance(next_step(wanting), steps.ApplyObjects)
    there = replace(wanting, objects={**wanting.objects, **{key(DAEMON_SET): DAEMON_SET}})
    step = next_step(there)
    assert isinstance(step, steps.Wait)
    assert "0 of 3" in step.reason
    ready = replace(there, upgrade=facts(preparation=(DAEMON_SET,)))
    moved = next_step(ready)
    assert isinstance(moved, MoveHop)
    assert moved.spec.hop
    assert (moved.spec.hop.stage, moved.purpose) == (S.Apiserver, Purpose.Forward)


def test_should_remove_what_prepared_it_once_it_moved() -> None:
    seen = going(UP, S.Controllers)
    step = next_step(replace(seen, objects={**seen.objects, key(DAEMON_SET): DAEMON_SET}))
    assert isinstance(step, steps.DeleteObjects)


def test_should_soak_and_then_go_on() -> None:
    soaking = next_step(going(UP, S.Soak, spec={"upgrade": {"soakSeconds": 600}}))
    assert isinstance(soaking, steps.Wait)
    assert "emulating 1.34" in soaking.reason
    assert soaking.after == 60.0
    over = next_step(going(UP, S.Soak, spec={"upgrade": {"soakSeconds": 60}}))
    assert isinstance(over, MoveHop)
    assert over.spec.hop
    assert over.spec.hop.stage is S.LiftApiserver


def test_should_end_where_everything_is_at_one_package() -> None:
    up = next_step(going(UP, S.MachineOperator))
    assert isinstance(up, EndHop)
    assert (up.spec.reached, up.spec.hop) == (NEW, None)
    assert release_manifest(up.spec)["hop"] is None
    down = next_step(going(DOWN, S.Prepare))
    assert isinstance(down, EndHop)
    assert down.spec.reached == OLD


@pytest.mark.parametrize("stage", [S.Apiserver, S.Soak, S.LiftControllers])
def test_should_turn_round_before_anything_else_is_done(stage: HopStage) -> None:
    at = release(OLD, reached=OLD, hop=hop(OLD, NEW, UP, stage))
    nobody = {**right().workloads, "apiserver": Workload("apiserver", wanted=2, ready=1, settled=False, trouble="ImagePullBackOff")}
    step = next_step(view(OLD, at, workloads=nobody))
    assert isinstance(step, TurnHop)
    assert step.spec.hop
    assert step.spec.hop.direction is DOWN


def test_should_step_down_as_soon_as_what_was_lowered_is_up() -> None:
    step = next_step(going(DOWN, S.Controllers, upgrade=facts(kubelets=(Kubelet("n-1", (1, 34, 4)),))))
    assert isinstance(step, MoveHop)
    assert step.spec.hop
    assert (step.spec.hop.stage, step.purpose) == (S.Apiserver, Purpose.Rollback)


def test_should_not_wait_on_the_way_down_for_what_has_nothing_to_do_with_it() -> None:
    """The scheduler is down, and it was lowered: wait. At a stage that lowered the API servers only: go on."""
    sick = {**right().workloads, "scheduler": Workload("scheduler", wanted=1, ready=0, settled=True)}
    assert not isinstance(next_step(going(DOWN, S.Apiserver, workloads=sick)), WriteRelease)
    step = next_step(going(DOWN, S.Soak, workloads=sick, reached=OLD))
    assert isinstance(step, MoveHop), "nothing differs between Soak and what is above it but the API servers"


@pytest.mark.parametrize(("stage", "lands"), [(S.Controllers, S.Prepare), (S.Addons, S.Soak)])
def test_should_take_the_short_way_when_no_api_server_serves(stage: HopStage, lands: HopStage) -> None:
    """Under emulation the old binary takes over directly; afterwards the emulation is lowered first."""
    dead = {**right().workloads, "apiserver": Workload("apiserver", wanted=1, ready=0, settled=True)}
    seen = going(DOWN, stage, workloads=dead, business=Unknown("down"), upgrade=facts())
    step = next_step(seen)
    assert isinstance(step, MoveHop)
    assert step.spec.hop
    assert step.spec.hop.stage is lands


@pytest.mark.parametrize("stage", [S.MachineOperator, S.LiftApiserver, S.Apiserver])
def test_should_put_no_api_server_below_a_kubelet(stage: HopStage) -> None:
    seen = going(DOWN, stage, upgrade=facts(kubelets=(Kubelet("n-1", (1, 35, 4)),)))
    step = next_step(seen)
    assert isinstance(step, steps.Wait)
    assert "node n-1 runs kubelet 1.35.4" in step.reason
    unknown = next_step(replace(seen, upgrade=facts(kubelets_unknown="its nodes cannot be read: 503")))
    assert isinstance(unknown, steps.Wait), "no error is a yes"


def test_should_go_back_from_the_soak_though_the_nodes_cannot_be_asked() -> None:
    """They never followed there, so none can be newer."""
    seen = going(DOWN, S.Controllers, reached=OLD, upgrade=facts(kubelets_unknown="down"))
    assert isinstance(next_step(seen), MoveHop)


def test_should_change_nothing_while_paused() -> None:
    assert isinstance(next_step(going(UP, S.Controllers, spec={"paused": True})), steps.Paused)


def test_should_show_the_hop_in_phase_and_condition() -> None:
    seen = going(UP, S.Soak, spec={"upgrade": {"soakSeconds": 600}})
    status = status_of(seen, next_step(seen), None)
    assert status["phase"] == "Upgrading"
    condition = next(each for each in status["conditions"] if each["type"] == "ReleaseMatchesWish")
    assert condition["message"].startswith(f"{OLD} to {NEW}, stage Soak")
    back = going(DOWN, S.Apiserver, business=BusinessApi("1.35.4"))
    assert status_of(back, next_step(back), None)["phase"] == "RollingBack"


@pytest.mark.parametrize(
    ("flags", "alpha"),
    [
        ({}, False),
        ({"feature-gates": "AllAlpha=true"}, True),
        ({"feature-gates": "AllAlpha=false,AllBeta=true"}, False),
        ({"runtime-config": "api/alpha=true"}, True),
        ({"runtime-config": "api/all=true"}, True),
        ({"runtime-config": "resource.k8s.io/v1alpha3=true"}, True),
        ({"runtime-config": "resource.k8s.io/v1alpha3=false,batch/v1=true"}, False),
        ({"runtime-config": "batch/v1=true"}, False),
    ],
)
def test_should_know_flags_that_cannot_be_emulated(flags: dict[str, str], alpha: bool) -> None:
    assert bool(alpha_in(flags)) is alpha


@pytest.mark.parametrize(("seconds", "words"), [(30, "less than a minute"), (600, "about 10 min"), (86_400, "about 24 h")])
def test_should_say_roughly_what_is_left(seconds: int, words: str) -> None:
    assert words_of_left(timedelta(seconds=seconds)) == words


def test_should_not_soak_when_it_is_undone_up_to_where_it_was() -> None:
    seen = going(UP, S.Soak, spec={"upgrade": {"soakSeconds": 600}})
    assert isinstance(seen.release, ClusterRelease)
    current = seen.release.spec.current.model_copy(update={"by": AuthorisedBy.Undo, "name": "nov"})
    undone = seen.release.model_copy(update={"spec": seen.release.spec.model_copy(update={"current": current})})
    assert isinstance(next_step(seen), steps.Wait), "without the undo it soaks"
    assert not isinstance(next_step(replace(seen, release=undone)), steps.Wait)


def test_should_soak_nowhere_but_in_the_soak() -> None:
    seen = going(UP, S.Controllers, spec={"upgrade": {"soakSeconds": 600}})
    assert isinstance(seen.release, ClusterRelease)
    assert seen.release.spec.hop
    assert soak_left(seen.release.spec, seen.cluster.spec, NOW) == timedelta(0)


def key(found: Manifest) -> ObjectId:
    return ObjectId.of(found)


def test_should_ask_as_for_a_way_back_also_where_no_way_is_down() -> None:
    """Between two packages of one version every hop goes up; what a rollout takes back is no forward change."""
    at = going(UP, S.Prepare).release
    assert isinstance(at, ClusterRelease)
    undone = at.spec.model_copy(update={"current": at.spec.current.model_copy(update={"by": AuthorisedBy.Undo})})
    assert (purpose_of(at.spec), purpose_of(undone)) == (Purpose.Forward, Purpose.Rollback)
    assert purpose_of(undone.model_copy(update={"hop": None})) is Purpose.Forward, "what is rolled when it is over is something else"
    step = next_step(replace(going(UP, S.Prepare), release=at.model_copy(update={"spec": undone})))
    assert isinstance(step, MoveHop)
    assert step.purpose is Purpose.Rollback

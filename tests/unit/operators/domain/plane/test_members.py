"""Which change of membership comes next, and that no interleaving of failures, wishes and passes costs the quorum or a disk that counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from operators.domain.plane import member_steps as steps
from operators.domain.plane import members
from operators.domain.plane.etcd_facts import Member
from operators.domain.plane.members import next_repair, next_shrink, waits_for
from operators.domain.plane.quorum import majority
from operators.domain.plane.steps import RollMember
from tests.unit.operators.domain.plane.etcd_model import Model


def three() -> Model:
    return Model(wanted=3).begin()


def names(model: Model, passes: int = 60) -> list[str]:
    """The kinds of steps until nothing is left to do."""
    taken = []
    for _ in range(passes):
        model.kubernetes()
        if step := model.step():
            taken.append(type(step).__name__)
            model.act(step)
    return taken


def test_should_leave_an_etcd_alone_that_is_right() -> None:
    model = three()

    assert model.step() is None
    assert waits_for(model.view()) == ""


JOIN = ["AddLearner", "UpdateRecord", "UpdateRecord", "Promote"]


def test_should_let_members_join_one_by_one() -> None:
    model = Model(wanted=1).begin()
    model.wanted = 3

    assert names(model) == JOIN * 2
    assert model.is_right


def test_should_let_the_highest_leave_and_then_delete_its_volume() -> None:
    model = Model(wanted=5).begin()
    model.wanted = 3

    assert names(model) == ["RemoveMember", "UpdateRecord", "DiscardMember"] * 2
    assert model.is_right


def test_should_hand_leadership_over_before_the_leader_leaves() -> None:
    model = Model(wanted=3, confirmed=True).begin()
    model.etcd.preferred = next(each.id for each in model.etcd.members.values() if each.name == "demo-etcd-2")
    model.wanted = 1

    step = model.step()
    assert isinstance(step, steps.HandOverLeadership)
    assert "it hands leadership to demo-etcd-0 first" in step.reason
    model.act(step)
    assert isinstance(model.step(), steps.RemoveMember)


def test_should_replace_a_member_whose_disk_is_empty() -> None:
    model = three()
    model.lose_disk(1)
    model.kubernetes()

    step = model.step()
    assert isinstance(step, steps.RemoveMember)
    assert (step.pod, step.why) == ("demo-etcd-1", steps.Removal.Replace)
    assert step.reason == "demo-etcd-1 is replaced: its disk is empty"
    assert names(model) == ["RemoveMember", "UpdateRecord", *JOIN]
    assert model.is_right


def test_should_make_a_pod_anew_that_has_seen_the_older_record() -> None:
    model = three()
    model.lose_disk(1)
    model.kubernetes()
    for _ in range(4):
        model.act(model.step() or pytest.fail("nothing to do"))

    step = model.step()
    assert isinstance(step, steps.RestartPod)
    assert "it may join etcd with its empty disk now" in step.reason


def test_should_replace_a_member_whose_node_is_gone_with_its_volume() -> None:
    model = three()
    model.lose_node(0)

    assert names(model)[:4] == ["RemoveMember", "UpdateRecord", "DiscardMember", "AddLearner"]
    assert model.is_right


def test_should_take_pods_off_gone_nodes_even_when_the_quorum_went_with_them() -> None:
    model = three()
    for ordinal in (1, 2):
        model.etcd.stop(model.name(ordinal))
        model.pods[ordinal] = replace(model.pods[ordinal], gone_node="node w1, which does not exist any more", ready=False)
    step = next_repair(replace(model.view(), silent="no quorum"))

    assert isinstance(step, steps.RestartPod)
    assert (step.pod, step.force, step.needs_leave) == ("demo-etcd-1", True, True)


def test_should_say_when_the_quorum_went_with_its_disks() -> None:
    model = three()
    model.lose_node(1)
    assert members.lost_for_good(replace(model.view(), silent="no quorum")) == "", "one of three is no majority"
    model.lose_node(2)
    view = replace(model.view(), silent="no quorum")

    assert next_repair(view) is None
    assert "data-demo-etcd-1 was on node w1, which does not exist any more, and 1 more were lost alike" in members.lost_for_good(view)


def test_should_take_a_pod_off_a_gone_node_when_its_volume_can_be_had_elsewhere() -> None:
    model = three()
    model.crash(1)
    model.pods[1] = replace(model.pods[1], gone_node="node w1, which is tainted node.kubernetes.io/out-of-service", ready=False)

    step = model.step()
    assert isinstance(step, steps.RestartPod)
    assert (step.pod, step.force, step.needs_leave) == ("demo-etcd-1", True, True)
    assert "goes on elsewhere with its volume" in step.reason
    assert model.settle()


def test_should_do_nothing_to_a_member_that_is_only_down() -> None:
    model = three()
    model.pods[1] = replace(model.pods[1], ready=False)
    model.crash(1)

    assert model.step() is None


def test_should_never_drop_the_last_that_has_the_data() -> None:
    model = Model(wanted=1).begin()
    model.lose_disk(0)
    model.kubernetes()

    assert model.pods[0].empty
    assert model.step() is None


def test_should_replace_two_of_five_one_after_the_other() -> None:
    model = Model(wanted=5).begin()
    model.lose_disk(1)
    model.lose_disk(3)

    assert model.settle()


def test_should_do_nothing_dangerous_without_a_quorum() -> None:
    model = three()
    for ordinal in (1, 2):
        model.lose_disk(ordinal)
    model.kubernetes()

    assert model.step() is None


def test_should_roll_what_is_down_without_a_quorum_only_if_nothing_answers() -> None:
    model = three()
    for ordinal in range(3):
        model.pods[ordinal] = replace(model.pods[ordinal], outdated=True, ready=False)
        model.crash(ordinal)

    assert isinstance(model.step(), RollMember)


def test_should_roll_followers_first_and_the_leader_last() -> None:
    model = three()
    for ordinal in range(3):
        model.pods[ordinal] = replace(model.pods[ordinal], outdated=True)
    order = []
    for _ in range(10):
        if step := model.step():
            order.append(step.pod if isinstance(step, RollMember) else type(step).__name__)
            model.act(step)
        model.kubernetes()

    assert order == ["demo-etcd-2", "demo-etcd-1", "HandOverLeadership", "demo-etcd-0"]


def test_should_not_roll_while_another_is_missing() -> None:
    model = three()
    model.pods[2] = replace(model.pods[2], outdated=True)
    model.crash(0)

    assert model.step() is None


def test_should_keep_three_until_one_is_confirmed() -> None:
    model = three()
    model.wanted = 1

    assert model.step() is None
    assert "set spec.etcd.confirmSingleMember if it is meant" in waits_for(model.view())
    model.confirmed = True
    assert isinstance(model.step(), steps.RemoveMember)


def test_should_leave_members_alone_while_there_is_a_stranger() -> None:
    model = three()
    model.etcd.members[9] = Member(9, "theirs", "https://elsewhere:2380")
    model.wanted = 5

    assert next_repair(model.view()) is next_shrink(model.view()) is None
    assert "https://elsewhere:2380 that kok did not add" in waits_for(model.view())


def test_should_take_a_learner_back_that_is_not_wanted_any_more() -> None:
    model = three()
    model.wanted = 5
    model.act(model.step() or pytest.fail("nothing to do"))
    model.wanted = 3

    assert model.settle()
    assert len(model.etcd.members) == 3


@pytest.mark.parametrize(("voters", "least"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_should_know_majorities(voters: int, least: int) -> None:
    assert majority(voters) == least


def test_should_lose_the_quorum_under_a_rule_that_is_too_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of what follows."""
    monkeypatch.setattr(members, "may_lose", lambda etcd, member: True)
    model = three()
    model.pods[2] = replace(model.pods[2], outdated=True)
    model.crash(0)

    model.act(model.step() or pytest.fail("nothing to do"))
    assert not model.etcd.has_quorum


def test_should_roll_neither_of_two_voters_but_go_on_to_three_first() -> None:
    model = Model(wanted=1).begin()
    model.wanted = 3
    while len(model.etcd.voters) < 2:
        model.kubernetes()
        model.act(model.step() or pytest.fail("nothing to do"))
    model.pods[0] = replace(model.pods[0], outdated=True)

    assert names(model)[:2] == ["AddLearner", "UpdateRecord"]
    assert model.is_right


def test_should_take_a_learner_for_started_as_soon_as_etcd_knows_its_name() -> None:
    """Else one that lost its disk right then might start empty under a name that has begun."""
    model = Model(wanted=1).begin()
    model.wanted = 3
    for _ in range(2):
        model.act(model.step() or pytest.fail("nothing to do"))
    model.kubernetes()
    model.lose_disk(1)

    assert model.settle()


class Interleavings(RuleBasedStateMachine):
    """The world breaks what a quorum can bear, people change their minds, and the operator makes passes between any two of these."""

    @initialize(wanted=st.sampled_from([1, 3, 5]))
    def begin(self, wanted: int) -> None:
        self.model = Model(wanted=wanted, confirmed=True).begin()

    @rule(times=st.integers(1, 4))
    def operator(self, times: int) -> None:
        for _ in range(times):
            had = self.model.etcd.has_quorum
            if step := self.model.step():
                self.model.act(step)
                rolls_the_only_one = isinstance(step, RollMember) and len(self.model.etcd.voters) == 1
                assert self.model.etcd.has_quorum or rolls_the_only_one or not had, f"{step} cost the quorum"

    @rule()
    def kubernetes(self) -> None:
        self.model.kubernetes()

    @rule(wanted=st.sampled_from([1, 3, 5]))
    def wish(self, wanted: int) -> None:
        self.model.wanted = wanted

    def _may_break(self, ordinal: int) -> bool:
        """The world takes only what leaves a majority of the voters with their disks running, or nothing was lost for ever."""
        left = [each for each in self.model.etcd.running_voters if each.name != self.model.name(ordinal)]
        return len(left) >= majority(len(self.model.etcd.voters))

    @rule(ordinal=st.integers(0, 4))
    def crash(self, ordinal: int) -> None:
        self.model.crash(ordinal)

    @rule(ordinal=st.integers(0, 4))
    def delete_pod(self, ordinal: int) -> None:
        self.model.end_pod(ordinal)

    @rule(ordinal=st.integers(0, 4))
    def lose_disk(self, ordinal: int) -> None:
        if self._may_break(ordinal):
            self.model.lose_disk(ordinal)

    @rule(ordinal=st.integers(0, 4))
    def lose_node(self, ordinal: int) -> None:
        if self._may_break(ordinal):
            self.model.lose_node(ordinal)

    @rule(ordinal=st.integers(0, 4))
    def outdate(self, ordinal: int) -> None:
        if ordinal in self.model.pods:
            self.model.pods[ordinal] = replace(self.model.pods[ordinal], outdated=True)

    @rule(ordinal=st.integers(0, 4), lag=st.sampled_from([0, 50, 2000]))
    def fall_behind(self, ordinal: int, lag: int) -> None:
        self.model.etcd.lag[self.model.name(ordinal)] = lag

    @invariant()
    @precondition(lambda self: hasattr(self, "model"))
    def never_start_a_voter_empty(self) -> None:
        assert self.model.started_empty == []

    @invariant()
    @precondition(lambda self: hasattr(self, "model"))
    def always_keep_a_majority_with_disks(self) -> None:
        disks = [each for each in self.model.etcd.voters if self.model.etcd.joined.get(each.name) == each.id]
        assert len(disks) >= majority(len(self.model.etcd.voters))

    def teardown(self) -> None:
        """When nothing goes wrong any more, everything becomes as wished."""
        if hasattr(self, "model"):
            self.model.etcd.lag.clear()
            assert self.model.settle(), self.model


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

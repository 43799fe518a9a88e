"""What a rollout does next: the state machine, one step per pass. Pure: the frozen plan, the records, what members have now, and `now` come in.

A rollout is always in exactly one of these states, derived anew at every pass; nothing is kept in a status. The
sentence of a wait stays the same as long as nothing changes in kind; numbers stand in the status of the stage, and in the records.

Waiting for approval. The next stage wants a person's yes (`spec.approvals`). Nothing starts; what was changed before stays.

Holding, before a stage. Its baseline is being taken: the numbers to compare with later, frozen in the record that starts the stage.

Changing. The stage's members are authorised one after another, never more at once than `maxParallel` and the limits of failure domains allow, none
while a change window is closed, a breaker is open, a budget would say no or another rollout has the cluster. A member that is not healthy at the new version by its
deadline has failed; coming back on the old version is a failure too. Failures within `failuresAllowed` are taken back alone.

A first bad sample, and numbers that are missing, keep everybody else from being started until it is clear what it is. When that lasts
for `holdDeadlineSeconds` after the last thing that moved, here or before a stage, a person is called.

A Cluster is through when the hosts of the pools that follow it are, too: each in service with what the version brings, and each changed node has started a
pod. Nobody fails by time for that; a pool that stopped at a host which failed fails its Cluster, unless it was not well before.

Soaking. All members are healthy; they are watched for `soakSeconds`. A FAIL at any moment of Changing or Soaking fails the stage at once.

Holding. The soak is over and the verdict is HOLD or INCONCLUSIVE: no advance, no rollback; after `holdDeadlineSeconds` a person is called.

Failed, waiting for a person. With `onFail: Pause`: the version is marked bad, so that nobody else takes it while a person thinks, and nothing starts until
one accepts the failure, which lifts the mark, aborts or undoes, which leaves it.

Paused. A person ordered it: what is in hand comes to its end, nothing new starts, forward or back.

Going back. Decided by a failure, an abort or an undo, and never revoked. After a failure the version is marked bad before anything else, so that no
other rollout and no edited wish takes it meanwhile. What this rollout changed is taken back, broken members first, then the
last first; neither windows, breaker nor soaks hold it up, but failure domains do, and each member must be healthy before its slot is free. It has its
own parallelism (`undo.maxParallel`), stops when going back does not help, or makes fewer pods than before, and never goes to a version that was
found bad. Planes do not wait for hosts that follow them; the end does.

Ended. Good, Bad, Aborted or Undone. An undo of a good one opens it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from operators.api.rollout import DomainLimit, MemberPhase, OnFail, Order, Stage
from operators.domain.rollout.plan import PlannedMember, PlannedStage
from operators.domain.rollout.story import Event, Outcome, Record, Story, stages_of
from operators.domain.rollout.verdict import Judgement, NoData
from operators.domain.rollout.view import HARM, POLL, ROLLBACK, Authorise, GoBack, Hold, MemberFacts, Note, RolloutView, State, Step, Wait


def next_step(view: RolloutView) -> Step:
    """The one thing to do now."""
    story = view.story
    if story.ended:
        if view.spec.order == Order.Undo and story.ended.outcome == Outcome.Good:
            return _go_back(view, Outcome.Undone, view.spec.said.ordered("undo"))
        return Wait(State.Ended, story.ended.text, after=None)
    if story.going_back:
        return _going_back(view, story.going_back)
    if view.marked:  # a process before this one was killed between the mark and its note
        return _go_back(view, Outcome.Bad, view.marked)
    if view.spec.order in (Order.Abort, Order.Undo):
        outcome = Outcome.Aborted if view.spec.order == Order.Abort else Outcome.Undone
        return _go_back(view, outcome, view.spec.said.ordered(view.spec.order.value.lower()))
    return _forward(view, story)


def _forward(view: RolloutView, story: Story) -> Step:
    for stage in stages_of(view.plan, story):
        if stage.name not in story.passed:
            work = StageWork(view, story, stage, next(each for each in view.spec.stages if each.name == stage.name))
            return work.next_step()
    return _note(view, Event.Ended, _ended_words(view, story), outcome=Outcome.Good)


def _ended_words(view: RolloutView, story: Story) -> str:
    """Who is at the version, and who is not: taken back alone, or given another by somebody since."""
    keys = [member.key for member in (*view.plan.members, *story.joined)]
    away = [key for key in keys if (facts := view.members.get(key)) and facts.version != view.plan.to]
    count = len(keys) - len(away)
    told = f"{'1 member is' if count == 1 else f'{count} members are'} at {view.plan.to}"
    return f"{told}; not {', '.join(away[:5])}{f' and {len(away) - 5} more' if len(away) > 5 else ''}" if away else told


@dataclass(frozen=True, slots=True)
class StageWork:
    """One stage that is not passed yet."""

    view: RolloutView
    story: Story
    stage: PlannedStage
    wish: Stage
    phases: Mapping[str, MemberPhase] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", {member.key: self._phase(member) for member in self.stage.members})

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name

    @property
    def accepted(self) -> bool:
        """Whether a person said to go on in spite of failures."""
        return self.name in self.view.spec.accepted_failures

    def next_step(self) -> Step:
        """The first that applies, in the order of the states."""
        if self.name not in self.story.started:
            return self._start()
        if self.accepted and self.name in self.view.marked_stages:
            words = f"{self.view.spec.said.ordered('to go on')} in spite of the failure of stage {self.name}: {self.view.plan.to} is not marked bad for it"
            return _note(self.view, Event.FailureAccepted, words, stage=self.name)
        if bad := self._bad():
            return self._fail(bad)
        if self.view.spec.order == Order.Pause:
            return Wait(State.Paused, f"{self.view.spec.said.ordered('a pause')}; what is in hand comes to its end, nothing new starts")
        if self.name in self.story.healthy:
            return self._judge(self.story.healthy[self.name])
        return self._change()

    def _start(self) -> Step:
        if not self.stage.members and not (self.wish.rest and self.view.late):
            return _note(self.view, Event.StagePassed, f"stage {self.name} has no members", stage=self.name)
        if self.view.spec.order == Order.Pause:
            return Wait(State.Paused, f"{self.view.spec.said.ordered('a pause')} before stage {self.name}")
        if self.wish.approval and self.name not in self.view.spec.approvals:
            return Wait(State.AwaitingApproval, f"stage {self.name} waits for approval: kok rollout approve", after=None)
        if isinstance(self.view.baseline, NoData):
            return Wait(State.Holding, f"stage {self.name} has not begun: {self.view.baseline.reason}", page=self._rests_long())
        count = len(self.stage.members)
        words = f"stage {self.name} begins: {count} member{'' if count == 1 else 's'}"
        record = Record(Event.StageStarted, self.view.now, self.name, words, baseline=self.view.baseline)
        return Note(record, State.Changing)

    def _bad(self) -> str:
        """Why the stage has failed; empty when it has not, or a person accepted it."""
        if self.accepted:
            return ""
        if why := self.story.failed.get(self.name) or self.view.marked_stages.get(self.name):
            return why  # a mark without its note: a process before this one was killed in between
        failed = [key for key, phase in self.phases.items() if phase in (MemberPhase.Failed, MemberPhase.GoingBack, MemberPhase.Back)]
        if len(failed) > self.wish.failures_allowed:
            facts = self.view.members.get(failed[0])
            return f"{failed[0]} was not healthy at {self.view.plan.to} in time: {(facts.gave_up or facts.trouble) if facts else 'gone'}"
        touched = any(phase != MemberPhase.Waiting for phase in self.phases.values())
        if touched and self.view.verdict.judgement == Judgement.FAIL:
            return self.view.verdict.sentence
        return ""

    def _fail(self, why: str) -> Step:
        if self.view.spec.on_fail == OnFail.Rollback:
            return _go_back(self.view, Outcome.Bad, f"stage {self.name} failed: {why}")
        if self.name not in self.story.failed:
            return _note(self.view, Event.StageFailed, why, stage=self.name, outcome=Outcome.Bad)
        return Wait(State.Failed, f"stage {self.name} failed: {why}; a person decides: resume --accept, abort or undo", page=True)

    def _change(self) -> Step:
        for key, phase in self.phases.items():
            if phase == MemberPhase.Failed and self.view.members[key].hold == Hold.Forward:
                return self._back_alone(next(member for member in self.stage.members if member.key == key))
        waiting = [member for member in self.stage.members if self.phases[member.key] == MemberPhase.Waiting]
        in_hand = [member for member in self.stage.members if self.phases[member.key] in (MemberPhase.InHand, MemberPhase.GoingBack)]
        if not waiting and not in_hand:
            return self._all_changed()
        if stuck := self._stuck():
            return Wait(State.Changing, stuck, page=True)
        if blind := [member for member in in_hand if self.view.members[member.key].blind]:
            words = f"{blind[0].key} cannot be judged, so nobody else is changed: {self.view.members[blind[0].key].blind}"
            return Wait(State.Changing, words, page=self._rests_long())
        if not waiting or len(in_hand) >= self.wish.max_parallel:
            follows = any(self.view.members[member.key].following for member in in_hand)
            return Wait(State.Changing, self._in_hand_words(in_hand), page=follows and self._rests_long())
        if barred := self._barred():
            return Wait(State.Changing, barred)
        if unclear := self._unclear():
            return Wait(State.Changing, unclear, page=self._rests_long())
        if closed := self._closed():
            return Wait(State.Changing, closed)
        return self._next_member(waiting, in_hand)

    def _back_alone(self, member: PlannedMember) -> Step:
        if not member.origin or member.origin in self.view.bad_versions:
            return Wait(State.Changing, _no_way_back(member), page=True)
        words = f"{member.key} failed; it is taken back alone: stage {self.name} allows it"
        return GoBack(member.key, member.origin, words, State.Changing)

    def _stuck(self) -> str:
        """A member that was taken back alone and did not come up by its deadline, in words."""
        deadline = timedelta(seconds=self.wish.member_deadline_seconds)
        for key, phase in self.phases.items():
            facts = self.view.members.get(key)
            if phase == MemberPhase.GoingBack and facts and self.view.now - facts.moved_at > deadline:
                return f"going back did not help {key}: {facts.trouble or facts.following}; a person decides: abort or undo"
        return ""

    def _all_changed(self) -> Step:
        if self.wish.rest and self.view.late:
            names = ", ".join(member.key for member in self.view.late[:5])
            return _note(self.view, Event.Joined, f"came after the start, go last: {names}", stage=self.name, members=self.view.late)
        if troubled := self._troubled():
            return Wait(State.Changing, troubled)
        return _note(
            self.view, Event.StageHealthy, f"stage {self.name} is changed; watched for {self.wish.soak_seconds} s", stage=self.name
        )

    def _next_member(self, waiting: Sequence[PlannedMember], in_hand: Sequence[PlannedMember]) -> Step:
        """The first in order that is well, and that its domain and other rollouts leave free. Who fell ill before its turn is not blamed on the change."""
        busy = Counter(member.domain for member in in_hand)
        why, page = "", False
        for member in waiting:
            facts = self.view.members[member.key]
            if not facts.healthy and facts.hold == Hold.Free:
                why = why or f"{member.key} is not healthy before its turn ({facts.trouble}); it is not changed until it is"
                page = page or self._waits_long(facts)
            elif facts.hold == Hold.Rival:
                why = why or f"{member.key} is in the hands of rollout {facts.rival}"
            elif no := self.view.why_no_leave(member.key):
                why = why or f"{member.key} waits for leave: {no}"
            elif full := _domain_full(self.view.spec.per_domain, busy, member.domain):
                why = why or full
            else:
                return Authorise(member.key, self.view.plan.to, f"stage {self.name}: {member.key} goes to {self.view.plan.to}")
        return Wait(State.Changing, why, page=page)

    def _waits_long(self, facts: MemberFacts) -> bool:
        patience = timedelta(seconds=self.view.spec.analysis.hold_deadline_seconds)
        return facts.unhealthy_since is not None and self.view.now - facts.unhealthy_since > patience

    def _unclear(self) -> str:
        """What has to be clear before anybody else is changed."""
        touched = any(phase is not MemberPhase.Waiting for phase in self.phases.values())
        if self.accepted or not touched or not self.view.verdict.forbids_more:
            return ""
        return f"nobody else is changed before this is clear: {self.view.verdict.stable}"

    def _rests_long(self) -> bool:
        """Whether nothing has moved for so long that a person is called: no record, no authorisation, nobody who became healthy."""
        facts = [self.view.members[member.key] for member in self.stage.members if member.key in self.view.members]
        moved = [each.moved_at for each in facts if each.hold is Hold.Forward]
        moments = [self.view.made, *(record.at for record in self.view.records[-1:]), *moved]
        patience = timedelta(seconds=self.view.spec.analysis.hold_deadline_seconds)
        return self.view.now - max(moments) > patience

    def _barred(self) -> str:
        """Why nothing new may start, whatever the numbers say."""
        if self.view.breaker:
            return self.view.breaker
        if self.view.plan.to in self.view.bad_versions:
            return f"{self.view.plan.to} was found bad by another rollout meanwhile: nobody else gets it; abort, or lift the mark"
        return ""

    def _closed(self) -> str:
        """Why no change window is open."""
        if self.view.window.problem:
            return f"no change window can be read, so nothing starts: {self.view.window.problem}"
        if not self.view.window.is_open:
            opens = self.view.window.changes_at
            ahead = f"; {self.view.staged}" if self.view.staged else ""
            return (
                f"outside the change windows; the next opens at {opens:%Y-%m-%d %H:%M} UTC{ahead}"
                if opens
                else "no change window ever opens"
            )
        return ""

    def _judge(self, healthy_at: datetime) -> Step:
        """Soaking, then the verdict; a member in trouble is never passed over."""
        over = healthy_at + timedelta(seconds=self.wish.soak_seconds)
        if self.view.now < over:
            left = (over - self.view.now).total_seconds()
            words = f"stage {self.name} is watched until {over:%H:%M:%S} UTC; so far {self.view.verdict.stable}"
            return Wait(State.Soaking, words, min(left, POLL))
        late = self.view.now > over + timedelta(seconds=self.view.spec.analysis.hold_deadline_seconds)
        if troubled := self._troubled():
            return Wait(State.Holding, troubled, page=late)
        if self.accepted or self.view.verdict.judgement == Judgement.PASS:
            return _note(self.view, Event.StagePassed, f"stage {self.name} passed: {self.view.verdict.sentence}", stage=self.name)
        return Wait(State.Holding, self.view.verdict.stable, page=late)

    def _troubled(self) -> str:
        """The first changed member that is not healthy now, in words; failures within what is allowed do not count."""
        for key, phase in self.phases.items():
            if phase in (MemberPhase.InHand, MemberPhase.GoingBack):
                return f"{key} is not healthy: {self.view.members[key].trouble}"
        return ""

    def _in_hand_words(self, in_hand: Sequence[PlannedMember]) -> str:
        facts = self.view.members
        words = [f"{member.key} ({facts[member.key].trouble or facts[member.key].owes or 'is changing'})" for member in in_hand[:3]]
        more = f" and {len(in_hand) - 3} more" if len(in_hand) > 3 else ""
        return f"stage {self.name}: in hand {', '.join(words)}{more}"

    def _phase(self, member: PlannedMember) -> MemberPhase:
        facts = self.view.members.get(member.key)
        if facts is None or facts.is_elsewhere(member.origin, self.view.plan.to):
            return MemberPhase.Skipped
        if facts.hold == Hold.Back:
            return MemberPhase.Back if facts.healthy and not facts.following else MemberPhase.GoingBack
        if facts.version != self.view.plan.to or facts.hold == Hold.Rival:
            return MemberPhase.Waiting
        if facts.healthy and not self._owes(facts):
            return MemberPhase.Healthy
        if facts.hold != Hold.Forward:
            return MemberPhase.Waiting
        if facts.blind:
            return MemberPhase.InHand  # nobody knows: it is not blamed for that
        if facts.gave_up:
            return MemberPhase.Failed
        if facts.healthy:
            return MemberPhase.InHand  # its hosts follow, or are asked: nobody fails by time for that
        began = facts.since
        if (facts.arrived or self.name in self.story.healthy) and facts.unhealthy_since:
            began = max(began, facts.unhealthy_since)  # it was healthy once: its deadline begins anew
        late = self.view.now - began > timedelta(seconds=self.wish.member_deadline_seconds)
        return MemberPhase.Failed if late else MemberPhase.InHand

    def _owes(self, facts: MemberFacts) -> bool:
        """Whether a healthy member is not through. A person who accepts the stage's failures waits for no hosts that follow."""
        if facts.hold != Hold.Forward or self.name in self.story.healthy:
            return False
        return bool(facts.unproven or (facts.following and not self.accepted))


def _going_back(view: RolloutView, decided: Record) -> Step:
    if view.spec.order == Order.Pause:
        return Wait(State.Paused, f"{view.spec.said.ordered('a pause')} while going back: {decided.text}")
    members = [member for stage in stages_of(view.plan, view.story) for member in stage.members if member.key in view.members]
    coming = [member for member in members if view.members[member.key].hold == Hold.Back and not view.members[member.key].healthy]
    forward = [member for member in members if view.members[member.key].hold == Hold.Forward]
    deadline = timedelta(seconds=max(stage.member_deadline_seconds for stage in view.spec.stages))
    stuck = [member for member in coming if view.now - view.members[member.key].since > deadline]
    if stuck and ROLLBACK not in view.spec.accepted_failures:
        first = view.members[stuck[0].key]
        words = f"going back did not help {stuck[0].key}: {first.trouble}; a person decides: resume --accept {ROLLBACK}"
        return Wait(State.GoingBack, words, page=True)
    if forward and (harm := _harm(view)):
        return harm
    if not forward and not coming:
        if follower := _follower(view, members, deadline):
            return follower
        return _note(view, Event.Ended, f"taken back: {decided.text}", outcome=decided.outcome)
    allowed = [member for member in forward if member.origin and member.origin not in view.bad_versions]
    slots = _slots_back(view)
    busy = Counter(member.domain for member in coming if member not in stuck)
    free = [member for member in allowed if not _domain_full(view.spec.per_domain, busy, member.domain)]
    if free and len(coming) - len(stuck) < slots:
        member = _first_back(free, view.members)
        return GoBack(member.key, member.origin, f"{member.key} goes back to {member.origin}: {decided.text}")
    if coming:
        return Wait(State.GoingBack, f"{coming[0].key} is going back: {view.members[coming[0].key].trouble or 'not healthy yet'}")
    return Wait(State.GoingBack, _no_way_back(forward[0]), page=True)


def _follower(view: RolloutView, members: Sequence[PlannedMember], deadline: timedelta) -> Wait | None:
    """All planes are back: what the hosts that follow one of them still owe, unless a person accepted it."""
    if ROLLBACK in view.spec.accepted_failures:
        return None
    for member in members:
        facts = view.members[member.key]
        if facts.hold == Hold.Back and facts.following:
            is_late = view.now - facts.moved_at > deadline
            more = f"; a person decides: resume --accept {ROLLBACK}" if is_late else ""
            return Wait(State.GoingBack, f"{member.key} is back, its hosts are not: {facts.following}{more}", page=is_late)
    return None


def _harm(view: RolloutView) -> Step | None:
    """Nobody else goes back where those that did are worse off by their numbers, or were: that is written down, and a person accepts it or not."""
    if HARM in view.spec.accepted_failures:
        return None
    if harm := view.story.harm:
        return Wait(State.GoingBack, f"{harm.text}; a person decides: resume --accept {HARM}", page=True)
    return _note(view, Event.Harmed, f"going back makes it worse, so nobody else goes back: {view.worse}") if view.worse else None


def _slots_back(view: RolloutView) -> int:
    """Members that may be on their way back at once."""
    return view.spec.undo.max_parallel or max(stage.max_parallel for stage in view.spec.stages)


def _domain_full(limit: DomainLimit | None, busy: Counter[str], domain: str) -> str:
    """Why no further member of that failure domain may be touched beside those in hand (domain -> how many); empty if one may."""
    if limit is None:
        return ""
    if busy[domain] >= limit.max_parallel:
        return f"failure domain {domain or '(none)'} has {busy[domain]} in hand"
    others = sorted(each for each, count in busy.items() if count and each != domain)
    if not busy[domain] and len(others) >= limit.at_once:
        return f"failure domain {domain or '(none)'} waits for {', '.join(each or '(none)' for each in others)}"
    return ""


def _no_way_back(member: PlannedMember) -> str:
    return f"{member.key} cannot go back: {member.origin or 'what it had'} was found bad or is not known; a person decides"


def _first_back(members: Sequence[PlannedMember], facts: Mapping[str, MemberFacts]) -> PlannedMember:
    """Broken ones first, then the last that were changed."""
    broken = [member for member in members if not facts[member.key].healthy]
    return broken[0] if broken else members[-1]


def _go_back(view: RolloutView, outcome: Outcome, why: str) -> Note:
    return _note(view, Event.GoingBack, why, outcome=outcome)


STATE_AFTER = {
    Event.GoingBack: State.GoingBack,
    Event.Harmed: State.GoingBack,
    Event.Ended: State.Ended,
    Event.StageHealthy: State.Soaking,
    Event.StageFailed: State.Failed,
}


def _note(  # noqa: PLR0913 - the fields of a record
    view: RolloutView, event: Event, text: str, *, stage: str = "", outcome: Outcome | None = None, members: tuple[PlannedMember, ...] = ()
) -> Note:
    record = Record(event, view.now, stage, text[:1024], outcome, members)
    return Note(record, STATE_AFTER.get(event, State.Changing))

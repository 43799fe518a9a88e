"""Marks of bad versions: told with who, when and why, lifted by name and reason, and repeated on machine packages."""

from __future__ import annotations

import pytest

from operators.domain.rollout.bad import FOUND_BAD, NOT_BAD, BadMark, told_on, with_mark, without_mark

MARK = BadMark("kubelet-2", "train-7", "stage canary failed: h1 has no\nnode.", "jane", "2026-03-01T11:00:00Z")
TOLD = (
    "kubelet-2 was found bad by rollout train-7 (jane, 2026-03-01T11:00:00Z: stage canary failed: h1 has no node); make a new version, or, "
    "if the version was not to blame, annotate it with kok.dev/not-bad: 'train-7: REASON'"
)


def test_should_tell_who_when_why_and_both_ways_on() -> None:
    assert MARK.refusal() == TOLD
    assert "by rollout old (no pods);" in BadMark("kubelet-2", "old", "no pods").refusal()


@pytest.mark.parametrize("by", ["jane", ""])
def test_should_read_from_a_machine_package_what_was_written_there(by: str) -> None:
    mark = BadMark("kubelet-2", "train-7", "no node", by, "2026-03-01T11:00:00Z")
    assert told_on("kubelet-2", {FOUND_BAD: with_mark({}, mark)}) == mark


def test_should_tell_the_last_mark_that_nobody_lifted() -> None:
    one = {FOUND_BAD: with_mark({}, MARK)}
    again = BadMark("kubelet-2", "train-8", "no node", "joe", "2026-03-02T11:00:00Z")
    both = {FOUND_BAD: with_mark(one, again)}
    assert told_on("kubelet-2", both) == again
    found = told_on("kubelet-2", both | {NOT_BAD: "train-8: it was the disk"})
    assert found
    assert found.rollout == "train-7"
    assert told_on("kubelet-2", both | {NOT_BAD: "train-7: the disk\ntrain-8: the disk"}) is None
    assert told_on("kubelet-2", both | {NOT_BAD: "train-8:"}) == again
    assert with_mark(both, again) == both[FOUND_BAD]
    assert told_on("kubelet-2", {}) is None
    assert told_on("kubelet-2", {FOUND_BAD: "garbage"}) == BadMark("kubelet-2", "garbage", "")


def test_should_take_back_what_one_rollout_told_and_nothing_else() -> None:
    again = BadMark("kubelet-2", "train-8", "no node", "joe", "2026-03-02T11:00:00Z")
    both = {FOUND_BAD: with_mark({FOUND_BAD: with_mark({}, MARK)}, again)}
    left = {FOUND_BAD: without_mark(both, "train-7")}
    assert told_on("kubelet-2", left) == again
    assert without_mark(left, "train-8") == ""
    assert without_mark(both, "train") == both[FOUND_BAD]

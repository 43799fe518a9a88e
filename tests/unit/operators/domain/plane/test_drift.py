"""What counts as a difference between rendered and live."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.domain.plane.drift import APPLIED_HASH, corrections, difference, stamped

TABLE: list[tuple[str, Any, Any, str]] = [
    ("equal", {"a": 1}, {"a": 1}, ""),
    ("fields of others", {"a": 1}, {"a": 1, "status": {"x": 1}}, ""),
    ("missing", {"a": {"b": 1}}, {"a": {}}, "/a/b"),
    ("changed", {"a": {"b": 1}}, {"a": {"b": 2}}, "/a/b"),
    ("empty map dropped by the server", {"a": {}}, {}, ""),
    ("empty list dropped by the server", {"a": []}, {}, ""),
    ("entry added", {"a": [1]}, {"a": [1, 2]}, "/a"),
    ("entry removed", {"a": [1, 2]}, {"a": [1]}, "/a"),
    ("entry changed", {"a": [{"n": 1}]}, {"a": [{"n": 2, "d": 1}]}, "/a/0/n"),
    ("defaults in an entry", {"a": [{"n": 1}]}, {"a": [{"n": 1, "protocol": "TCP"}]}, ""),
    ("true is not 1", {"a": True}, {"a": 1}, "/a"),
    ("slash in a key", {"kok.dev/x": 1}, {}, "/kok.dev~1x"),
]


@pytest.mark.parametrize(("wanted", "live", "path"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_should_name_the_first_place_that_differs(wanted: Any, live: Any, path: str) -> None:
    assert difference(wanted, live) == path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=2), JSON, max_size=4), JSON)
def test_should_never_see_a_difference_to_itself_nor_to_more_than_itself(wanted: dict[str, Any], other: Any) -> None:
    assert difference(wanted, wanted) == ""
    assert difference(wanted, {**wanted, "of somebody else": other}) == ""


def test_should_stamp_by_content_and_keep_annotations() -> None:
    manifest = {"kind": "A", "metadata": {"name": "a", "annotations": {"x": "y"}}, "spec": 1}
    first, second = stamped(manifest), stamped({**manifest, "spec": 2})
    assert first["metadata"]["annotations"]["x"] == "y"
    assert first["metadata"]["annotations"][APPLIED_HASH] != second["metadata"]["annotations"][APPLIED_HASH]
    assert APPLIED_HASH not in manifest["metadata"]["annotations"]  # type: ignore[operator]


def test_should_correct_lists_that_others_added_to() -> None:
    wanted = {"spec": {"containers": [{"name": "a", "env": [1]}], "replicas": 1}}
    assert corrections(wanted, {"spec": {"containers": [{"name": "a", "env": [1]}, {"name": "b"}], "replicas": 3}}) == [
        {"op": "replace", "path": "/spec/containers", "value": [{"name": "a", "env": [1]}]}
    ]
    assert corrections(wanted, {"spec": {"containers": [{"name": "a", "env": [1, 2]}]}}) == [
        {"op": "replace", "path": "/spec/containers/0/env", "value": [1]}
    ]


def test_should_correct_values_that_others_put_in_the_place_of_ours() -> None:
    """A set of plain values is merged by server-side apply: what is not ours stays, and may not go together with ours."""
    wanted = {"spec": {"validationActions": ["Deny"], "verbs": ["get", "list"]}}
    live = {"spec": {"validationActions": ["Warn"], "verbs": ["list", "get"]}}
    assert corrections(wanted, live) == [{"op": "replace", "path": "/spec/validationActions", "value": ["Deny"]}]

"""Reading a template once gives what reading it with the values written out gives, for every value; and only where that is sure."""

from __future__ import annotations

import pytest

from operators.domain.plane import desired_rendering
from operators.domain.plane.desired import desired_plane, inside
from operators.domain.plane.desired_skeleton import EDGE, Values, filled, may_be_marked
from tests.unit.operators.domain.plane.rendered import a_cluster, some_inputs, templates

SHAPES = (
    {},
    {"size": "large", "masters": {"replicas": 3}, "etcd": {"members": 3, "storageGiB": 4, "separateEvents": True}},
    {"machineAccess": None, "endpoint": {"type": "LoadBalancer"}, "flags": {"apiserver": {"v": "2"}}},
    {"flags": {"apiserver": {"audit-log-path": f"a{EDGE}0{EDGE}"}, "scheduler": {"v": '"}, {"x": ["\u2028\u0085'}}},
)


@pytest.mark.parametrize("spec", SHAPES)
def test_should_render_as_with_values_written_out(spec: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, texts = some_inputs(a_cluster(**spec)), templates()
    marked = desired_plane(inputs, texts), inside(inputs, texts)
    monkeypatch.setattr(desired_rendering, "may_be_marked", lambda source: False)
    assert marked == (desired_plane(inputs, texts), inside(inputs, texts))


def test_should_hand_out_objects_of_their_own() -> None:
    """Whoever changes what was rendered for one plane must not change it for all that follow."""
    inputs, texts = some_inputs(), templates()
    first = inside(inputs, texts)
    first[0]["metadata"]["labels"]["spoilt"] = "yes"
    first[-1].clear()
    second = inside(inputs, texts)
    assert "spoilt" not in second[0]["metadata"]["labels"]
    assert second[-1]


def test_should_use_marks_for_every_template_of_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the saving could be lost without anybody seeing it."""
    monkeypatch.setattr(desired_rendering, "read_all", lambda text: pytest.fail("read with the values written out"))
    inputs, texts = some_inputs(), templates()
    assert desired_plane(inputs, texts).components
    assert inside(inputs, texts)


@pytest.mark.parametrize(
    "source",
    [
        "{% set text %}{{ x }}{% endset %}",
        "{%- set a | trim %}x{% endset %}",
        "{% macro m(x) %}{{ x }}{% endmacro %}",
        "{% filter upper %}x{% endfilter %}",
    ],
)
def test_should_not_mark_a_template_that_makes_a_value_of_its_text(source: str) -> None:
    assert not may_be_marked(source)


def test_should_mark_a_template_that_only_sets_expressions() -> None:
    assert may_be_marked("{% set x = {'a': 1} %}a: {{ x }}")


@pytest.mark.parametrize("text", ["a: x{0}", "a: [{0}, 'y {0}']", "{0}: 1"])
def test_should_not_fill_a_mark_within_a_text(text: str) -> None:
    assert filled(text.replace("{0}", f"{EDGE}0{EDGE}x"), ['"v"']) is None


def test_should_fill_keys_and_values() -> None:
    values = Values()
    key, first, second = values.mark('"key"'), values.mark('{"a": [1, null]}'), values.mark("true")
    text = f"{key}: [{first}, {second}]"
    assert filled(text, values.written) == ({"key": [{"a": [1, None]}, True]},)

"""What people may write freely in a Cluster reaches its masters as it stands: neither Jinja nor YAML takes a part of it for its own."""

from __future__ import annotations

import pytest

from operators.domain.plane.desired import desired_plane
from tests.unit.operators.domain.plane.rendered import a_cluster, some_inputs, templates

HOSTILE = [
    "{{ 7*7 }}",
    "{% for x in [1] %}x{% endfor %}",
    "{{ cluster.__class__ }}",
    '"}, {"command": ["sh"]}',
    "\"\\' --anonymous-auth=true",
    "- --anonymous-auth=true",
    "&a *a !!python/object:os.system id",
    "# comment",
    "ünïcödé \u202e\u2028 \u0085",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_should_write_a_hostile_flag_as_one_argument(text: str) -> None:
    inputs = some_inputs(a_cluster(flags={"apiserver": {"audit-log-path": text}, "scheduler": {"v": text}}))
    plane = desired_plane(inputs, templates())
    plain = desired_plane(some_inputs(a_cluster(flags={"apiserver": {"audit-log-path": "x"}, "scheduler": {"v": "x"}})), templates())
    for component, argument in (("apiserver", f"--audit-log-path={text}"), ("scheduler", f"--v={text}")):
        hostile, harmless = (_containers(each.components[component]) for each in (plane, plain))
        assert argument in _words(hostile[0])
        assert len(hostile) == len(harmless)
        assert len(_words(hostile[0])) == len(_words(harmless[0]))


def _containers(manifests: tuple[dict, ...]) -> list[dict]:
    pods = [each["spec"]["template"]["spec"] for each in manifests if each["kind"] in ("Deployment", "StatefulSet")]
    return [container for pod in pods for container in pod["containers"]]


def _words(container: dict) -> list[str]:
    return [*container.get("command", ()), *container.get("args", ())]

"""A plan that was rendered once is not rendered again while nothing it depends on changed, however large the fleet; and it is the same one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.cluster_operator.cluster import planning
from operators.cluster_operator.cluster.planning import Planner
from operators.domain.plane.inputs import PlaneInputs
from operators.domain.plane.view import Plan
from operators.errors import KokError
from tests.unit.operators.domain.plane.rendered import a_cluster, some_inputs, templates


class Catalogue:
    """The templates of the work tree."""

    def plane_templates(self, revision: str) -> dict[str, str]:
        return templates()

    def component_flags(self, version: str) -> None:
        return None


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[PlaneInputs]:
    """Everything that was rendered, in order."""
    found: list[PlaneInputs] = []
    monkeypatch.setattr(planning, "refuse_unknown", lambda package, cluster, known: None)
    render = Planner._render

    def noted(self: Planner, inputs: PlaneInputs) -> Plan | KokError:
        found.append(inputs)
        return render(self, inputs)

    monkeypatch.setattr(Planner, "_render", noted)
    return found


async def test_should_render_once_however_many_planes_are_between(rendered: list[PlaneInputs]) -> None:
    planner = Planner(Catalogue(), plans=1)  # type: ignore[arg-type]
    first, second = some_inputs(), a_cluster(flags={"apiserver": {"v": "3"}})
    other = some_inputs(second.model_copy(update={"metadata": second.metadata.model_copy(update={"uid": "another"})}))
    plan, digest = await planner.plan(first)
    await planner.plan(other)
    assert await planner.plan(first) == (plan, digest)
    assert isinstance(plan, Plan)
    assert plan.inside
    assert rendered == [first, other]


async def test_should_render_anew_what_changed(rendered: list[PlaneInputs]) -> None:
    planner, first = Planner(Catalogue(), plans=1), some_inputs()  # type: ignore[arg-type]
    changed = replace(first, secret_digests={**first.secret_digests, "demo-etcd-tls": "another"})
    plans = [await planner.plan(inputs) for inputs in (first, changed, first)]
    assert plans[0] == plans[2] != plans[1]
    assert rendered == [first, changed, first]

"""An edited wish for a version that a rollout found bad is refused before anything is touched, by the operator, in the words of the mark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from operators.api.rollout import FleetRollout
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.rollout.journal import BAD, LABEL_PART, REVISION, JournalBook
from operators.domain.plane.release_steps import WriteRelease
from operators.domain.plane.steps import Step
from operators.domain.rollout.bad import NOT_BAD, BadMark
from operators.errors import ErrorCode
from operators.ports.kube import AlreadyExists, KubePort
from tests.integration.cluster_operator.world_of_planes import SYSTEM, Stage, package_manifest

pytestmark = pytest.mark.integration

OLD, BROKEN = "kubernetes-1.34.4-marked", "kubernetes-1.34.5-marked"
TRAIN = f"train-{uuid4().hex[:8]}"


@pytest.fixture
async def marked(stage: Stage, meta: KubePort) -> AsyncIterator[Stage]:
    """A stage in whose catalogue there is a version that a rollout found bad."""
    for name, version in ((OLD, "1.34.4"), (BROKEN, "1.34.5")):
        try:
            await meta.create(package_manifest(name, version))
        except AlreadyExists:
            continue
    train = {"kind": "FleetRollout", "metadata": {"name": TRAIN, "uid": "u-1"}}
    change = {
        "change": {"clusterPackageVersion": BROKEN},
        "selector": {"matchLabels": {"a": "b"}},
        "stages": [{"name": "all", "rest": True}],
    }
    mark = BadMark(BROKEN, TRAIN, "stage canary failed: no pods", "jane", "2026-03-01T11:00:00Z", "u-1")
    await JournalBook(meta, SYSTEM).mark_bad(mark, FleetRollout.parse({**train, "spec": change}))
    yield stage
    for item in (await meta.list(REVISION, namespace=SYSTEM, selector=f"{LABEL_PART}={BAD}")).items:
        await meta.delete(REVISION.ref(item["metadata"]["name"], SYSTEM))
    await meta.patch_json(kinds.PACKAGE.ref(BROKEN), {"metadata": {"annotations": {NOT_BAD: None}}})


async def version_of(stage: Stage) -> str:
    found = await stage.admin.get(kinds.RELEASE.ref(stage.name, stage.namespace))
    assert found
    return str(found["spec"]["current"]["packageVersion"])


async def wish(stage: Stage, package: str) -> None:
    await stage.admin.patch_json(kinds.CLUSTER.ref(stage.name, stage.namespace), {"spec": {"packageVersion": package}})


async def lift(stage: Stage) -> None:
    """A person says that the version was not to blame."""
    annotations = {NOT_BAD: f"{TRAIN}: the registry was down"}
    await stage.admin.patch_json(kinds.PACKAGE.ref(BROKEN), {"metadata": {"annotations": annotations}})


async def test_should_refuse_an_edited_wish_in_the_words_of_the_mark_and_follow_it_when_the_mark_is_lifted(marked: Stage) -> None:
    await marked.create(packageVersion=OLD)
    operator = marked.operator()
    await marked.settle(operator)
    before = await marked.snapshot()
    await wish(marked, BROKEN)
    step = await marked.stalled_with(
        operator, ErrorCode.VersionBad, f"{BROKEN} was found bad by rollout {TRAIN} (jane, 2026-03-01T11:00:00Z: "
    )
    assert f"annotate it with kok.dev/not-bad: '{TRAIN}: REASON'" in step.reason
    assert (await marked.condition("Stalled"))["message"] == step.reason
    assert await version_of(marked) == OLD
    assert await marked.snapshot() == before, "nothing was touched"
    await lift(marked)

    def authorised(step: Step) -> bool:
        return isinstance(step, WriteRelease) and step.spec.current.package_version == BROKEN

    await marked.until(marked.operator(), authorised)


async def test_should_not_begin_a_plane_at_it_and_leave_alone_one_that_runs_it(marked: Stage) -> None:
    await marked.create(packageVersion=BROKEN)
    operator = marked.operator()
    await marked.stalled_with(operator, ErrorCode.VersionBad, f"{BROKEN} was found bad by rollout {TRAIN}")
    assert await marked.admin.get(kinds.RELEASE.ref(marked.name, marked.namespace)) is None
    await lift(marked)
    operator = marked.operator()
    await marked.settle(operator)
    await marked.admin.patch_json(kinds.PACKAGE.ref(BROKEN), {"metadata": {"annotations": {NOT_BAD: None}}})
    before = await marked.snapshot()
    await marked.settle(marked.operator())
    assert (await version_of(marked), await marked.snapshot()) == (BROKEN, before), "it runs: the mark is nothing to it"

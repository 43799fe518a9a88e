"""A version that a rollout takes back is refused from then on: to other rollouts and to edited wishes, also while it is still being taken back."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.journal import BAD, LABEL_PART, NOT_BAD, REVISION, JournalBook
from operators.ports.kube import Ref
from tests.integration.kube_proxies import Killed, RecordingKube
from tests.integration.rollout.fleet import NEW, OLD, Fleet, RolloutOperator

pytestmark = pytest.mark.usefixtures("crds")


def fresh() -> str:
    return f"train-{uuid4().hex[:8]}"


async def soaking(kube: KubeClient) -> tuple[Fleet, str]:
    """Its canary is changed, and makes no pods from now on; it would not come up with what it had, either."""
    fleet, name = await Fleet.of(kube, 2), fresh()
    await fleet.planes_follow()
    said = {"by": "jane", "reason": "CVE-2026-1"}
    await kube.create(fleet.manifest(name, {"name": "all", "rest": True, "soakSeconds": 600, "maxParallel": 2}, said=said))
    await RolloutOperator(fleet).until(name, "Soaking")
    fleet.no_pods.add(NEW)
    fleet.broken.add(OLD)
    return fleet, name


async def marks(fleet: Fleet) -> list[dict[str, Any]]:
    listing = await fleet.kube.list(REVISION, namespace=fleet.system, selector=f"{LABEL_PART}={BAD}")
    return [item["data"] for item in listing.items]


async def test_should_refuse_the_version_from_the_moment_it_is_taken_back(kube: KubeClient) -> None:
    fleet, name = await soaking(kube)
    assert await marks(fleet) == []
    operator = RolloutOperator(fleet)
    await operator.until(name, "GoingBack")
    (mark,) = await marks(fleet)
    assert (mark["version"], mark["rollout"], mark["by"]) == (NEW, name, "jane")
    assert "below its floor" in mark["why"]
    second = fresh()
    await kube.create(fleet.manifest(second))
    refused = await operator.until(second, "Refused")
    assert f"{NEW} was found bad by rollout {name} (jane, {mark['at']}: stage all failed" in refused["message"]
    fleet.broken.clear()
    await operator.until(name, "Bad")
    assert await marks(fleet) == [mark], "one rollout makes one mark"


class KilledByItsMark(RecordingKube):
    """A process that dies right after it marked a version bad."""

    def _before(self, verb: str, ref: Ref) -> None:
        if any(write.ref.name.startswith("bad.") for write in self.writes):
            raise Killed(f"dead, now asked to {verb} {ref}")


async def test_should_go_back_for_its_mark_when_killed_right_after_it_was_made(kube: KubeClient) -> None:
    """Nothing is wrong any more when the next process looks: only the mark says that it was."""
    fleet, name = await soaking(kube)
    with pytest.raises(Killed):
        await RolloutOperator(fleet, KilledByItsMark(kube)).until(name, "GoingBack")
    assert len(await marks(fleet)) == 1
    fleet.no_pods.clear()
    fleet.broken.clear()
    await RolloutOperator(fleet).until(name, "Bad")
    assert set((await fleet.versions()).values()) == {OLD}
    assert len(await marks(fleet)) == 1


async def test_should_refuse_the_version_while_a_person_thinks_and_take_it_again_once_one_accepts(kube: KubeClient) -> None:
    """With onFail: Pause nothing is taken back; until somebody says that the version was not to blame nobody else gets it."""
    fleet, name = await Fleet.of(kube, 2), fresh()
    await fleet.planes_follow()
    await kube.create(fleet.manifest(name, {"name": "all", "rest": True, "soakSeconds": 600, "maxParallel": 2}, onFail="Pause"))
    operator = RolloutOperator(fleet)
    await operator.until(name, "Soaking")
    fleet.no_pods.add(NEW)
    await operator.until(name, "Failed")
    assert set((await fleet.versions()).values()) == {NEW}, "nothing is taken back"
    (mark,) = await marks(fleet)
    assert (mark["version"], mark["rollout"], mark["stage"]) == (NEW, name, "all")
    second = fresh()
    await kube.create(fleet.manifest(second))
    refused = await operator.until(second, "Refused")
    assert f"{NEW} was found bad by rollout {name}" in refused["message"]
    said = {"by": "jane", "reason": "the registry was down"}
    await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"acceptedFailures": ["all"], "said": said}})
    await operator.until(name, "Soaking")
    assert await marks(fleet) == [mark], "the mark itself stays"
    (lifted,) = (await fleet.kube.list(REVISION, namespace=fleet.system, selector=f"{LABEL_PART}={NOT_BAD}")).items
    assert (lifted["data"]["by"], lifted["data"]["reason"]) == ("jane", "the registry was down")
    assert await JournalBook(kube, fleet.system).bad_marks() == (), "and counts no more"

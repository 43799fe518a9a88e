"""A no is final: who read it went away, so the rollout does not start by itself when the reason is over, not even in another process."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from operators.cluster_operator.rollout.act import Answer, Freeze, Refuse
from operators.cluster_operator.rollout.controller import RolloutController
from operators.cluster_operator.rollout.journal import LABEL_ROLLOUT, JournalBook
from operators.cluster_operator.rollout.measuring import Measurer
from operators.cluster_operator.rollout.observe import Seen
from operators.cluster_operator.rollout.probing import ProbeBook
from operators.domain.rollout.forecast import Catalogue
from operators.ports.kube import Manifest
from operators.ports.metrics import NoMetrics
from tests.unit.operators.domain.rollout.builders import NEW, candidates, rollout

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
THERE: Any = Catalogue({NEW: object()}, {})  # type: ignore[dict-item]


class Meta:
    """An API server that keeps what is created."""

    def __init__(self) -> None:
        self.kept: list[Manifest] = []

    async def create(self, manifest: Manifest) -> Manifest:
        self.kept.append(manifest)
        return manifest

    async def list(self, kind: object, *, namespace: str, selector: str) -> Any:
        name = selector.removeprefix(f"{LABEL_ROLLOUT}=")
        return SimpleNamespace(items=[each for each in self.kept if each["metadata"]["labels"].get(LABEL_ROLLOUT) == name])


def controller(meta: Meta) -> RolloutController:
    world: Any = SimpleNamespace(meta=meta, own_namespace="kok-system", now=lambda: NOW)
    return RolloutController(world, ProbeBook(world.now, lambda key: None), Measurer(NoMetrics(), every=0.0))


def seen(generation: int = 1, *, there: int = 6, **spec: Any) -> Seen:
    """A pass over a rollout of so many Clusters, before any plan."""
    made = rollout(**spec)
    made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"generation": generation})})
    return Seen(made, {}, tuple(candidates(there)), NOW, catalogue=THERE)


async def told_no(meta: Meta, **spec: Any) -> str:
    """The sentence, once it was acted on."""
    nobody = seen(there=0, **spec)
    step = controller(meta).next_step(nobody)
    assert isinstance(step, Refuse)
    await controller(meta).act(nobody, step)
    return step.reason


async def again(meta: Meta, later: Seen) -> Seen:
    """The same pass with what the journal says."""
    journal = await JournalBook(meta, "kok-system").read(later.rollout)  # type: ignore[arg-type]
    return replace(later, refusal=journal.refusals.get(later.rollout.metadata.generation))


async def test_should_stay_refused_with_the_same_words_when_the_reason_is_over() -> None:
    meta = Meta()
    words = await told_no(meta)
    assert "matches no Cluster" in words
    assert "kok rollout resume" in words
    step = controller(meta).next_step(await again(meta, seen()))
    assert isinstance(step, Refuse)
    assert (step.reason, step.after, step.is_final) == (words, None, False)


async def test_should_ask_again_when_a_person_edits_it_since() -> None:
    meta = Meta()
    await told_no(meta)
    outlook: Any = controller(meta)
    assert isinstance(outlook.next_step(await again(meta, seen(2, there=0))), Refuse), "and may be refused again"
    assert isinstance(outlook.next_step(await again(meta, seen(2))), Freeze)


async def test_should_only_answer_in_mode_plan_and_write_nothing() -> None:
    meta = Meta()
    words = await told_no(meta, mode="Plan")
    assert "kok rollout resume" not in words
    assert not meta.kept
    assert isinstance(controller(meta).next_step(await again(meta, seen(mode="Plan"))), Answer)

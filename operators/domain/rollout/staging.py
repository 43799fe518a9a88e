"""Images are there before the window opens: what a rollout of planes pulls to the meta nodes while it waits, and how far that is. Pure.

By the same template that a hop prepares itself with, once for the whole rollout. Nothing waits for it: a hop pulls what is missing. Gone when the
window is open, for then each hop sees to itself, and with the rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.api.base import GROUP, LABEL_MANAGED_BY, MANAGED_BY
from operators.api.rollout import FleetRollout, Order
from operators.domain.plane.desired_preparation import not_pulled
from operators.domain.rollout.view import RolloutView

LABEL_STAGING = f"{GROUP}/staging"
"""Its own label: the API server keeps revisions of a DaemonSet under the labels of its pods, and a rollout's journal is found by label."""


def waits_for_a_window(view: RolloutView) -> bool:
    """Whether something is to be changed when a window opens, and none is open."""
    story, spec = view.story, view.spec
    is_going = not story.ended and not story.going_back and spec.order is Order.Go and view.plan.to not in view.bad_versions
    return is_going and not view.window.is_open and view.window.changes_at is not None


def is_wanted(view: RolloutView) -> bool:
    """Whether images are pulled ahead now. For machines see `staging_pools`."""
    return not view.spec.change.of_machines and waits_for_a_window(view)


def daemon_set(rendered: Mapping[str, Any], rollout: FleetRollout, name: str, namespace: str) -> dict[str, Any]:
    """A plane's prepull, as one of this rollout: in kok's namespace, owned by it."""
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_STAGING: name}
    owner = {"apiVersion": rollout.api_version, "kind": rollout.kind, "name": rollout.metadata.name, "uid": rollout.metadata.uid}
    spec = dict(rendered["spec"])
    spec["selector"] = {"matchLabels": labels}
    spec["template"] = {**spec["template"], "metadata": {"labels": labels}}
    metadata = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": rendered["apiVersion"], "kind": rendered["kind"], "metadata": metadata, "spec": spec}


def words_of(found: Mapping[str, Any] | None) -> str:
    """How far it is."""
    if found is None:
        return "its images are pulled ahead"
    words = not_pulled(dict(found))
    return f"its images are pulled ahead: {words}" if words else "its images are on the meta nodes"

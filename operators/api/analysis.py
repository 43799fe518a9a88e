"""How the stages of a FleetRollout are judged beside kok's own probe: business metrics, windows, floors. Part of operators/api/rollout.py."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from operators.api.base import DnsLabel, Model, list_map

Query = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"\{\{window\}\}")]
"""A query of Prometheus over `{{window}}`, for example `sum(increase(orders_total{cluster="{{cluster}}"}[{{window}}]))`."""


class Metric(Model):
    """A business metric from Prometheus, as two counters: judged by counts, never by a ready-made ratio."""

    name: DnsLabel
    """As it is shown."""
    good: Query
    """Query for the number of good events in the window; `{{cluster}}`, `{{namespace}}` and `{{window}}` are filled in. It must give one number."""
    total: Query
    """Query for the number of all events in the window."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.9
    """A ratio below this fails by itself, once there are three times `minSamples` events; before, only what is surely worse does."""
    margin: Annotated[float, Field(ge=0, le=1)] = 0.01
    """How much worse than the control the change may make it."""
    min_samples: Annotated[int, Field(ge=1, le=1_000_000)] = 30
    """Fewer events than this decide nothing."""
    empty_means_zero: bool = False
    """Whether an empty answer is a zero; otherwise it holds the rollout."""


class Analysis(Model):
    """How stages are judged. kok's own pod-creation probe always counts."""

    metrics: Annotated[tuple[Metric, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """Business metrics beside the probe."""
    window_seconds: Annotated[int, Field(ge=60, le=86400)] = 300
    """Length of the windows that are compared."""
    stale_seconds: Annotated[int, Field(ge=5, le=3600)] = 180
    """A metric without a sample in so many seconds has vanished, and holds; at least three scrapes."""
    probe_floor: Annotated[float, Field(ge=0, le=1)] = 0.95
    """A pod-creation success ratio below this fails by itself, once there are thirty pods; before, only what is surely worse does."""
    hold_deadline_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = 900
    """After so long without data a person is called."""

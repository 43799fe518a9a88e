"""Rows of measurements as a table and a plot in text; called by `python -m tests.bench`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median

BAR_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured. Samples of kok and, where there is one, of the bare baseline of the same run."""

    name: str
    unit: str
    ours: tuple[float, ...]
    bare: tuple[float, ...] = ()
    max_ratio: float | None = None
    max_value: float | None = None
    setting: str = ""
    """Replicas, etcd mode, real or simulated: what the number is a number of."""

    @property
    def value(self) -> float:
        """Median of ours."""
        return median(self.ours)

    @property
    def ratio(self) -> float | None:
        """Median of ours over median of bare."""
        return self.value / median(self.bare) if self.bare else None

    @property
    def holds(self) -> bool:
        """Whether every bar of this row is met; one of nothing at all is for every single run."""
        ratio_holds = self.max_ratio is None or (self.ratio is not None and self.ratio <= self.max_ratio)
        value = max(self.ours) if self.max_value == 0 else self.value
        return ratio_holds and (self.max_value is None or value <= self.max_value)


def say(words: str) -> None:
    """A line of progress, apart from the table."""
    print(words, file=sys.stderr, flush=True)


def table(rows: list[Row]) -> str:
    """One line per row: medians, ratio, bars, whether they hold."""
    head = f"{'what':<34} {'kok':>9} {'bare':>9} {'ratio':>6} {'bar':>14}  {'':<6} setting"
    return "\n".join([head, *(_line(row) for row in rows)])


def _line(row: Row) -> str:
    bare = f"{median(row.bare):.1f} {row.unit}" if row.bare else "-"
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
    bars = [f"<= {row.max_ratio:g}x"] if row.max_ratio is not None else []
    bars += [f"<= {row.max_value:g} {row.unit}"] if row.max_value is not None else []
    verdict = "" if not bars else "ok" if row.holds else "MISSED"
    return (
        f"{row.name:<34} {f'{row.value:.1f} {row.unit}':>9} {bare:>9} {ratio:>6} {', '.join(bars):>14}  {verdict:<6} {row.setting}".rstrip()
    )


def plot(rows: list[Row]) -> str:
    """Ours (#) above bare (=), each pair on its own scale, with every sample's spread in numbers."""
    lines: list[str] = []
    for row in rows:
        top = max((*row.ours, *row.bare), default=0.0) or 1.0
        lines.append(row.name)
        lines += [
            f"  {label} {mark * max(1, round(BAR_WIDTH * median(samples) / top)):<{BAR_WIDTH}} {_spread(samples, row.unit)}"
            for label, mark, samples in (("kok ", "#", row.ours), ("bare", "=", row.bare))
            if samples
        ]
    return "\n".join(lines)


def _spread(samples: tuple[float, ...], unit: str) -> str:
    return f"{median(samples):.1f} {unit} ({min(samples):.1f} to {max(samples):.1f}, {len(samples)} runs)"


def curve(title: str, step: int, values: list[float]) -> str:
    """One line per sample: where it was taken, a bar, and the number."""
    top = max(values, default=0.0) or 1.0
    lines = [
        f"  {step * (number + 1):>8} {'#' * max(1, round(BAR_WIDTH * value / top)):<{BAR_WIDTH}} {value:.1f}"
        for number, value in enumerate(values)
    ]
    return "\n".join([title, *lines])

"""What the demo prints: stages as they end, then what was broken and how fast it healed. Pure text; called by `stories`."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS, WHAT = 100, 46
"""Nothing is wider; and the columns for what was broken, unless something longer was."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing that was brought up."""

    name: str
    what: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Breakage:
    """One thing that was broken on purpose. Seconds count from the moment it was broken."""

    what: str
    noticed: float
    healed: float
    remark: str = ""


def duration(seconds: float) -> str:
    """`8.1s` below a minute, else `2m 41s`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    return f"{int(seconds) // 60}m {int(seconds) % 60:02d}s"


def stage_line(stage: Stage) -> str:
    """One line of the upper table."""
    return f"  {stage.name:<15} {stage.what:<64} {duration(stage.seconds):>8}"


def breakage_lines(breakages: list[Breakage]) -> list[str]:
    """The lower table."""
    wide = max([WHAT, *(len(one.what) for one in breakages)])
    lines = [f"  {'Broke':<{wide}} {'noticed':>8} {'healed':>8}"]
    for one in breakages:
        times = f"  {one.what:<{wide}} {duration(one.noticed):>8} {duration(one.healed):>8}"
        beside = f"{times}   {one.remark}".rstrip()
        lines += [beside] if len(beside) <= COLUMNS else [times, f"{one.remark:>{COLUMNS}}"]
    return lines


def try_next(kubeconfig_command: str) -> list[str]:
    """What a person types next."""
    return [
        "Try next",
        f"  export PATH=$PWD/.venv/bin:$PATH KUBECONFIG=$({kubeconfig_command})",
        "  kok get kok -A                          everything kok knows",
        "  kok describe cluster demo -n demo       a tree that unfolds what is not fine",
        "  kok why cluster demo -n demo            the cause of what is not fine",
        "  kok budget; kok history                 what may be done, and what was done",
        "  (umask 077; kok kubeconfig demo -n demo > ~/demo.kubeconfig)",
        "  kubectl --kubeconfig ~/demo.kubeconfig get nodes,pods -A",
        "  kok lab host kill demo-2                seen within half a minute: kok get machines -n demo -w",
        "  kok lab host start demo-2               and back",
        "  make demo-down                          removes all of it",
        'README.md, "Five minutes", says more',
    ]

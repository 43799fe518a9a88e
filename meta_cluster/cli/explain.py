"""`kok explain`: what an error code means and what to do. Needs no cluster."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer


def explain(
    code: Annotated[str, typer.Argument(help="A code, as conditions, events and errors show it; none lists all.", show_default=False)] = "",
) -> None:
    """Explain an error code.

    Examples:

      kok explain HostKeyChanged

      kok explain
    """
    from meta_cluster.cli.console import say
    from meta_cluster.cli.errors_reference import REFERENCE
    from operators.errors import ErrorCode, KokError

    if not code:
        size = max(map(len, REFERENCE))
        say("\n".join(f"{name:<{size}}  {entry.meaning}" for name, entry in sorted(REFERENCE.items()) if entry.meaning))
        return
    known = {str(name).lower(): name for name in REFERENCE if REFERENCE[name].meaning}
    found = known.get(code.lower())
    if found is None:
        close = difflib.get_close_matches(code.lower(), known, n=1)
        hint = f"did you mean {known[close[0]]}?" if close else "kok explain lists all codes"
        raise KokError(ErrorCode.Usage, f"there is no error code {code}", hint)
    say(f"{found}\n  means  {REFERENCE[found].meaning}\n  do     {REFERENCE[found].remedy}")

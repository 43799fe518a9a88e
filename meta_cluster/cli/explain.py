"""`kok explain`: what an error code, a phase or a reason means and what to do. Needs no cluster."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer


def explain(
    word: Annotated[
        str, typer.Argument(help="A word as conditions, phases, events and errors show it; none lists all.", show_default=False)
    ] = "",
) -> None:
    """Explain an error code, a phase or a reason.

    Examples:

      kok explain HostKeyChanged

      kok explain Gates

      kok explain
    """
    from meta_cluster.cli.console import say
    from operators.errors import ErrorCode, KokError

    texts = explanations()
    if not word:
        size = max(map(len, texts))
        say("\n".join(f"{name:<{size}}  {text.splitlines()[1].split('  means  ')[-1]}" for name, text in sorted(texts.items())))
        return
    known = {name.lower(): name for name in texts}
    found = known.get(word.lower())
    if found is None:
        close = difflib.get_close_matches(word.lower(), known, n=1)
        hint = f"did you mean {known[close[0]]}?" if close else "kok explain lists all words"
        raise KokError(ErrorCode.Usage, f"there is no error code, phase or reason {word}", hint)
    say(texts[found])


def explanations() -> dict[str, str]:
    """Word -> what is printed for it; a word that is an error code and a phase has both."""
    from meta_cluster.cli.errors_reference import ENTRIES
    from meta_cluster.cli.words_reference import WORDS

    texts = {str(code): f"{code}\n  means  {entry.meaning}\n  do     {entry.remedy}" for code, entry in ENTRIES.items()}
    for name, word in WORDS.items():
        lines = f"  means  {word.meaning}\n  do     {word.remedy}\n  shown  as {word.where}"
        texts[name] = f"{texts[name]}\n{lines}" if name in texts else f"{name}\n{lines}"
    return texts

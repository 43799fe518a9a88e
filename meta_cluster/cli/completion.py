"""`kok completion`: a script that makes the shell complete verbs, options and kinds. Prints it; changes no file."""

from __future__ import annotations

from typing import Annotated

import typer

SHELLS = ("bash", "zsh", "fish")


def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print a completion script.

    Examples:

      source <(kok completion bash)

      kok completion zsh > ~/.zfunc/_kok
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from meta_cluster.cli.console import say
    from operators.errors import ErrorCode, KokError

    if shell not in SHELLS:
        raise KokError(ErrorCode.Usage, f"no completion for {shell}", f"one of {', '.join(SHELLS)}")
    say(get_completion_script(prog_name="kok", complete_var="_KOK_COMPLETE", shell=shell))

"""`kok`, also as `kubectl kok`: finds the verb, runs it, tells errors. Only the verb's own module is imported, so that the command starts at once."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import Annotated

import typer
import typer.core

from operators.errors import ErrorCode, KokError

VERBS = {
    "get": "objects of kok as a table, JSON, YAML or names",
    "describe": "one object as a tree that shows what is not fine",
    "why": "the reasons for what is not as wished, and what to do next",
    "plan": "what an upgrade of many clusters would do",
    "diff": "what committing files would do",
    "upgrade": "many clusters to another version, in stages, judged after each",
    "rollout": "how upgrades stand; pause, resume, approve, abort, undo",
    "history": "what was changed, by whom, why, and how it ended",
    "budget": "limits of dangerous acts, and who holds them",
    "kubeconfig": "print a kubeconfig for a business cluster",
    "explain": "what an error code, phase or reason means and what to do",
    "host": "host keys, before a host is a machine",
    "meta": "install kok into a cluster, see how it stands, take it out",
    "lab": "a whole fleet on this machine",
    "assets": "binaries, images and host packages",
    "version": "of client, operators and meta cluster",
    "completion": "a script for the shell",
}
"""Verb -> what it does; the verb's module is named like it and holds `app` (a group) or a function of that name."""
HELP = """Run many Kubernetes clusters from one: it holds their masters as pods and turns hosts into their nodes.

Start with `kok get kok -A`; ask `kok why cluster NAME -n NAMESPACE` when something is not Ready.

Exit codes are kubectl's: 0, 1 for any error (also a command line that was not understood), 130 when interrupted.
"""
typer.core.HAS_RICH = False
"""Help is plain text: with rich at hand typer escapes its own brackets, and loading it takes time."""
COMPLETE = "_KOK_COMPLETE"
INTERRUPTED = 130
NO_SUCH_COMMAND = re.compile(r"No such command '([^']*)'")
UsageError = typer.BadParameter.__mro__[1]
ClickException = typer.BadParameter.__mro__[2]


def app_for(words: list[str]) -> typer.Typer:
    """The command line with the verb that `words` names; of the others only what they are called and do, which is all that help shows."""
    app = typer.Typer(
        name="kok", help=HELP, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.callback()(_root)
    named = next((word for word in words if not word.startswith("-")), "")
    for verb, does in VERBS.items():
        if verb != named:
            app.command(verb, short_help=does)(_other_verb)
            continue
        module = import_module(f"meta_cluster.cli.{verb}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb, short_help=does)
        else:
            app.command(verb, short_help=does)(getattr(module, verb))
    return app


def _other_verb() -> None:
    """Stands for a verb that the command line does not name, so it is never run."""


def _words_to_complete() -> list[str]:
    """What is typed so far, without `kok`, as the shells hand it over."""
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def _show_version(asked: bool) -> None:
    if asked:
        from meta_cluster.cli.console import say
        from meta_cluster.own_version import own_version

        say(f"kok {own_version()}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", help="Show this client's version.", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Everything else belongs to a verb."""


def main() -> None:
    """Entry point. Exit codes as kubectl's: 0, 1 for any error, 130 when interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """One command line; the exit code. Errors are told on stderr."""
    from meta_cluster.cli.console import tell, tell_error

    if COMPLETE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
        words = _words_to_complete()
    try:
        code = app_for(words)(args=words, prog_name="kok", standalone_mode=False)
        return int(code or 0)
    except KokError as error:
        tell_error(error)
    except (KeyboardInterrupt, typer.Abort):
        tell("interrupted; what was begun goes on or can be repeated")
        return INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except Exception as error:
        if not isinstance(error, ClickException):
            raise
        return _told_usage(error)
    return 1


def _nobody_reads() -> int:
    """`kok ... | head` has seen enough; what is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _told_usage(error: Exception) -> int:
    """A command line that was not understood; a verb without words shows its help, which is no error, as with kubectl."""
    from meta_cluster.cli.console import tell_error

    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        try:
            print(context.get_help() if context else str(error), flush=True)
        except BrokenPipeError:
            return _nobody_reads()
        return 0
    path = context.command_path if context else "kok"
    message = getattr(error, "format_message", lambda: str(error))().rstrip(".")
    meant, message = _meant(message, context), message.partition(" Did you mean")[0].rstrip(".")
    tell_error(KokError(ErrorCode.Usage, message[:1].lower() + message[1:], meant or f"{path} --help"))
    return 1


def _meant(message: str, context: typer.Context | None) -> str:
    """`did you mean kok get?` of a command that nearly is one; typer and click each say it in the middle of their message."""
    unknown = NO_SUCH_COMMAND.match(message)
    if not unknown or context is None:
        return ""
    from difflib import get_close_matches

    known = getattr(context.command, "commands", {})
    close = get_close_matches(unknown[1], known, n=1)
    return f"did you mean {context.command_path} {close[0]}?" if close else ""


if __name__ == "__main__":
    main()

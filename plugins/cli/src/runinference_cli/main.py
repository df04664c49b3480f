"""The command ``runinference``: which of its commands is meant, and how errors are told."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

from runinference._version import __version__
from runinference.errors import ConfigurationError, HandlerLookupError
from runinference_cli.failures import UsageError, explain, original

__all__ = ["main"]

_FAILED = 1
_USAGE = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        0 where everything was done; 1 where a run failed; 2 where the command cannot be run as it
        was given; 130 after an interrupt.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["score"]:
        return _told(_score, arguments[1:])
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command == "handlers":
        return _told(_handlers, [] if parsed.name is None else [parsed.name])
    parser.print_help()
    return _USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="runinference",
        description="Score files with machine-learning models on Apache Beam.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"runinference {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("score", help="score files with a handler chosen by name")
    handlers = commands.add_parser(
        "handlers", help="list the installed handlers, or show the options of one"
    )
    shown = handlers.add_subparsers(metavar="show NAME")
    show = shown.add_parser("show", help="show a handler's options")
    show.add_argument("name", metavar="NAME")
    handlers.set_defaults(name=None)
    return parser


def _handlers(arguments: Sequence[str]) -> str:
    from runinference_cli.handlers_command import list_handlers, show_handler

    return show_handler(arguments[0]) if arguments else list_handlers()


def _score(arguments: Sequence[str]) -> str:
    # each imports what only it needs: the parser of options, and Beam
    from runinference_cli.logs import logging_to_stderr

    with logging_to_stderr(None):
        from runinference_cli.options import parse_score

        options = parse_score(arguments)
    with logging_to_stderr(options.log_level):
        from runinference_cli.score import score

        told = score(options)
    return "" if options.quiet else told


def _told(command: Callable[[Sequence[str]], str], arguments: Sequence[str]) -> int:
    """Run a command; what it says goes to standard output, an error to standard error."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    try:
        text = command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: no results were left\n")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the end of the program: every error is told here
        if "--traceback" in own:
            traceback.print_exc()
        message = " ".join(explain(original(error)).split())
        sys.stderr.write(f"error: {message}\n")
        usage = (UsageError, ConfigurationError, HandlerLookupError, TypeError)
        return _USAGE if isinstance(error, usage) else _FAILED
    if text:
        sys.stdout.write(f"{text}\n")
    return 0

"""The command ``runinference``: which of its commands is meant, and how errors are told."""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runinference._version import __version__
from runinference.errors import ConfigurationError, HandlerLookupError
from runinference_cli.failures import UsageError, explain, original
from runinference_cli.stopping import Stopped, stoppable

__all__ = ["main"]

_FAILED = 1
_USAGE = 2
_BY_SIGNAL = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        0 where everything was done; 1 where a run failed; 2 where the command cannot be run as it
        was given; 128 and the signal's number where one ended the run, which is 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["score"]:
        return _told(_score, arguments[1:])
    if arguments[:2] == ["handlers", "check"]:
        return _told(_check, arguments[2:])
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command == "handlers":
        return _told(_handlers, [] if parsed.name is None else [parsed.name])
    if parsed.command == "doctor":
        return _told(_doctor, [])
    if parsed.command == "new":
        return _told(_new, [parsed.name, *([] if parsed.folder is None else [parsed.folder])])
    parser.print_help()
    return _USAGE


class Told(NamedTuple):
    """What a command says in the end."""

    text: str
    status: int = 0


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
        "handlers", help="list the installed handlers, show the options of one, or check it"
    )
    shown = handlers.add_subparsers(metavar="{show,check} NAME")
    show = shown.add_parser("show", help="show a handler's options")
    show.add_argument("name", metavar="NAME")
    shown.add_parser("check", help="check that a handler keeps the contract; see check --help")
    handlers.set_defaults(name=None)
    commands.add_parser("doctor", help="tell what is installed here, what is wrong with it and why")
    new = commands.add_parser("new", help="write a distribution with a handler of one's own")
    new.add_argument("name", metavar="NAME", help="of the distribution, such as acme-handler")
    new.add_argument("--folder", help="to write it to; one of its name if not told")
    return parser


def _handlers(arguments: Sequence[str]) -> Told:
    from runinference_cli.handlers_command import list_handlers, show_handler

    return Told(show_handler(arguments[0]) if arguments else list_handlers())


def _check(arguments: Sequence[str]) -> Told:
    from runinference_cli.logs import logging_to_stderr

    with logging_to_stderr(None):
        from runinference_cli.check_command import check_handler

        table, is_passed = check_handler(arguments)
    return Told(table, 0 if is_passed else _FAILED)


def _doctor(arguments: Sequence[str]) -> Told:
    from runinference_cli.doctor import examine

    report, is_well = examine()
    return Told(report, 0 if is_well else _FAILED)


def _new(arguments: Sequence[str]) -> Told:
    from runinference_cli.new_command import write_distribution

    return Told(write_distribution(*arguments))


def _score(arguments: Sequence[str]) -> Told:
    # each imports what only it needs: the parser of options, and Beam
    from runinference_cli.arrow_memory import choose_pool
    from runinference_cli.logs import logging_to_stderr

    choose_pool()
    with logging_to_stderr(None):
        from runinference_cli.options import parse_score

        options = parse_score(arguments)
    with logging_to_stderr(options.log_level), stoppable():
        from runinference_cli.score import score
        from runinference_cli.summary import json_of_error

        try:
            summary = score(options)
        except (Exception, KeyboardInterrupt) as error:
            if options.json:
                told = json_of_error(_message(error), isinstance(error, KeyboardInterrupt))
                sys.stdout.write(f"{told}\n")
            raise
    if options.json:
        return Told(summary.json())
    return Told("" if options.quiet else summary.text())


def _told(command: Callable[[Sequence[str]], Told], arguments: Sequence[str]) -> int:
    """Run a command; what it says goes to standard output, an error to standard error."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    try:
        told = command(arguments)
    except KeyboardInterrupt as stopped:
        what = stopped if isinstance(stopped, Stopped) else Stopped()
        with contextlib.suppress(OSError):  # a terminal that was closed
            sys.stderr.write(f"{what}\n")
        return _BY_SIGNAL + what.number
    except Exception as error:  # noqa: BLE001  # the end of the program: every error is told here
        if "--traceback" in own:
            traceback.print_exc()
        sys.stderr.write(f"error: {_message(error)}\n")
        usage = (UsageError, ConfigurationError, HandlerLookupError, TypeError)
        return _USAGE if isinstance(error, usage) else _FAILED
    if told.text:
        sys.stdout.write(f"{told.text}\n")
    return told.status


def _message(error: BaseException) -> str:
    """What to say of an error, in one line."""
    told = str(error) if isinstance(error, KeyboardInterrupt) else explain(original(error))
    return " ".join(told.split())

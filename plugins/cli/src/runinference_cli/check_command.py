"""``runinference handlers check``: the conformance checks on an installed handler, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from jsonargparse import ArgumentError, ArgumentParser

from runinference.registry import create_handler, handler_class
from runinference.testing import CheckResult, HandlerChecks
from runinference_cli.class_options import add_class_options, given_options
from runinference_cli.failures import UsageError
from runinference_cli.readers import read_blocks
from runinference_cli.report import rendered
from runinference_cli.sources import find_sources, plan
from runinference_cli.wording import reword

__all__ = ["check_handler"]

_USAGE = """runinference handlers check NAME [--handler.OPTION VALUE ...] --examples FILE
                                  [OPTION ...]"""
_STYLES = {
    "passed": "green",
    "failed": "bold red",
    "skipped": "dim",
    "expected failure": "yellow",
}


def check_handler(arguments: Sequence[str]) -> tuple[str, bool]:
    """Run every check.

    Args:
        arguments: what follows ``runinference handlers check``.

    Returns:
        A table of the checks, and whether none failed.

    Raises:
        UsageError: an option unknown, missing or of a value that it cannot have.
        HandlerLookupError: a name that leads to no handler.
        ConfigurationError: options that cannot work.
        SystemExit: after ``--help``.
    """
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name is None and not {"-h", "--help"} & set(arguments):
        raise UsageError("which handler? say runinference handlers check NAME --examples FILE")
    parser = _parser(name)
    try:
        parsed = parser.parse_args(list(arguments[1:] if name else arguments))
        made = parser.instantiate(parsed)
    except ArgumentError as error:
        raise UsageError(reword(str(error), list(parser.get_defaults().keys()), name)) from error
    handler = create_handler(
        str(name), **given_options("handler", parsed, made, parser.get_defaults())
    )
    features = parsed["features"]
    checks = HandlerChecks(
        table=_rows(parsed["examples"], parsed["rows"]),
        features=None if features is None else [part for f in features for part in f.split(",")],
        other_model=parsed["other_model"],
        inference_args=made["inference_args"],
        rtol=parsed["rtol"],
        atol=parsed["atol"],
        expected_failed_checks=parsed["expected_failed_checks"] or {},
    )
    results = checks.run(handler)
    return _table(str(name), results), all(result.outcome != "failed" for result in results)


def _parser(name: str | None) -> ArgumentParser:
    parser = ArgumentParser(
        prog="runinference handlers check",
        usage=_USAGE,
        description="Check that a handler keeps every rule of the contract; exit status 1 if not.",
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
        print_config=None,
    )
    add = parser.add_argument
    add(
        "--examples",
        required=True,
        help="a Parquet, CSV or JSON Lines file, whose first rows are the examples",
    )
    add("--rows", type=int, default=8, help="how many rows to take; 8 if not told")
    add("--features", nargs="+", help="the columns that the model sees, as for score: a,b,c")
    add("--other-model", help="the path of a model that predicts otherwise")
    add("--inference-args", type=dict[str, Any] | None, help="extra arguments of each call")
    add("--rtol", type=float, default=HandlerChecks.rtol, help="how far predictions may be apart")
    add("--atol", type=float, default=HandlerChecks.atol, help="how far they may be apart besides")
    add(
        "--expected-failed-checks",
        type=dict[str, str] | None,
        help="checks that the handler does not pass, with the reasons: '{check_...: reason}'",
    )
    if name is not None:
        add_class_options(parser, "handler", handler_class(name), f"options of {name}")
    return parser


def _rows(path: str, count: int) -> pa.Table:
    planned = plan(find_sources([path], None), {})
    if planned.schema is None:
        raise UsageError(f"--examples {path}: it has no rows")
    schema = planned.schema
    taken: list[pa.Table] = []
    for split in planned.splits:
        for block in read_blocks(split, schema):
            taken.append(block)
            if sum(map(len, taken)) >= count:
                return pa.concat_tables(taken).slice(0, count)
    return pa.concat_tables(taken)


def _table(name: str, results: Sequence[CheckResult]) -> str:
    from rich.table import Table

    title = f"Checks of {name}"
    table = Table("Check", "Result", "What to know", title=title, title_justify="left")
    told: dict[str, str] = {}
    for result in results:
        message = result.message
        if message and message in told:
            message = f"as {told[message]}"
        told.setdefault(message, result.name)
        table.add_row(result.name, result.outcome, message, style=_STYLES[result.outcome])
    count = {outcome: sum(r.outcome == outcome for r in results) for outcome in _STYLES}
    counted = ", ".join(f"{number} {outcome}" for outcome, number in count.items() if number)
    return f"{rendered(table)}\n{counted}"

"""What ``runinference score`` takes, parsed in two stages.

The first takes ``--handler NAME`` and the configuration file out, since which other options there
are depends on the handler. The second builds the parser of that handler's class: its options, and
those of the batching and the execution, come from signatures and docstrings.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from runinference.config import ROW_ONLY, BatchConfig, Execution
from runinference.registry import available_handlers, handler_class
from runinference_cli.class_options import add_class_options, given_options
from runinference_cli.config_file import check_keys, read_config
from runinference_cli.failures import UsageError
from runinference_cli.wording import reword

__all__ = ["ScoreOptions", "parse_score", "score_parser"]

_LISTS = ("input", "features", "keep")
_GROUPS = ("handler", "batching", "execution")
_USAGE = """runinference score --handler NAME [--handler.OPTION VALUE ...]
                          --input FILES --output FOLDER [OPTION ...] [-- BEAM OPTION ...]"""


@dataclasses.dataclass(frozen=True)
class ScoreOptions:
    """One run of ``runinference score``; a field of None was not given.

    Attributes:
        arguments: of the command line, as they were given.
    """

    handler: str
    handler_options: Mapping[str, Any]
    inputs: Sequence[str]
    input_format: str | None
    column_types: Mapping[str, str]
    csv_rows_are_lines: bool
    features: Sequence[str] | None
    keep: Sequence[str] | None
    output: str
    output_format: str
    output_column: str
    overwrite: bool
    failures: str | None
    failure_threshold: float
    inference_args: dict[str, Any] | None
    batching: BatchConfig
    execution: Execution
    quiet: bool
    json: bool
    report: str | None
    log_level: str | None
    beam: Sequence[str]
    arguments: Sequence[str]


def parse_score(arguments: Sequence[str]) -> ScoreOptions:
    """Parse what follows ``runinference score``.

    Raises:
        UsageError: an option unknown, missing or of a value that it cannot have.
        HandlerLookupError: a handler's name that leads to none.
        ConfigurationError: options that cannot work together.
        SystemExit: after ``--help``.
    """
    own, beam = _split_beam(arguments)
    own, name, config_path = _take_out(own)
    config = {} if config_path is None else read_config(config_path)
    if "handler" in config:
        config["handler"], configured = _handler_of(config["handler"], config_path)
        name = name or configured
    is_help = any(argument in ("-h", "--help") for argument in own)
    if name is None and not is_help:
        installed = ", ".join(info.name for info in available_handlers()) or "none"
        raise UsageError(f"which handler? say --handler NAME; installed: {installed}")
    parser = score_parser(name)
    defaults = parser.get_defaults()
    known = list(defaults.keys())
    if config:
        check_keys(config, known, _GROUPS, f"{config_path}: handler {name!r}", str(config_path))
        given = [key for key in _LISTS if any(a.split("=")[0] == f"--{key}" for a in own)]
        stays = {key: value for key, value in config.items() if key not in given}
        own = ["--config", json.dumps(_as_lists(stays), default=str), *own]
    try:
        parsed = parser.parse_args(own)
        changed = parser.instantiate(parsed)
    except ArgumentError as error:
        raise UsageError(reword(str(error), known, name)) from error
    return _options(str(name), parsed, changed, defaults, beam, list(arguments))


def _split_beam(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    listed = list(arguments)
    if "--" not in listed:
        return listed, []
    cut = listed.index("--")
    return listed[:cut], listed[cut + 1 :]


def _take_out(arguments: list[str]) -> tuple[list[str], str | None, str | None]:
    """The arguments without the handler's name and the configuration file, and these two."""
    taken: dict[str, str | None] = {"--handler": None, "--config": None}
    left = []
    position = 0
    while position < len(arguments):
        option, equals, value = arguments[position].partition("=")
        position += 1
        option = "--handler" if option == "--handler.name" else option
        if option not in taken:
            left.append(arguments[position - 1])
            continue
        if not equals:
            if position == len(arguments) or arguments[position].startswith("--"):
                what = "a handler's name" if option == "--handler" else "a file"
                raise UsageError(f"{option} needs {what}")
            value = arguments[position]
            position += 1
        taken[option] = value
    return left, taken["--handler"], taken["--config"]


def _handler_of(value: Any, path: str | None) -> tuple[dict[str, Any], str | None]:
    """The options and the name under the key ``handler`` of a configuration file."""
    if isinstance(value, str):
        return {}, value
    if not isinstance(value, dict):
        raise UsageError(
            f"{path}: handler is {value!r:.100}; write its name, or {{name: ..., option: ...}}"
        )
    options = dict(value)
    name = options.pop("name", None)
    return options, None if name is None else str(name)


def score_parser(name: str | None) -> ArgumentParser:
    """The parser of ``runinference score``, with the options of a handler if one is named."""
    parser = ArgumentParser(
        prog="runinference score",
        usage=_USAGE,
        description="Score files with a model: each row gets a prediction.",
        epilog="Options of a handler: runinference handlers show NAME, or --handler NAME --help.",
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
        print_config=None,
    )
    add = parser.add_argument
    add("--config", action="config", help="a YAML file of options; those given here come before it")
    add(
        "--input",
        required=True,
        nargs="+",
        action="extend",
        help="files, folders or patterns ('in/*.parquet') of Parquet, CSV or JSON Lines files, "
        "compressed ones too (.gz, .bz2, .zst, .lz4)",
    )
    add("--input-format", choices=("parquet", "csv", "jsonl"), help="by default told by the suffix")
    add(
        "--column-types",
        type=dict[str, str] | None,
        help="types of columns of CSV and JSON Lines files, such as '{age: float64, zip: string}'; "
        "by default those of the first rows",
    )
    add(
        "--csv-rows-are-lines",
        action="store_true",
        help="no value of a CSV file holds a line break: workers can share a large file",
    )
    add(
        "--features",
        nargs="+",
        action="extend",
        help="the columns that the model sees, in its order: a,b,c; by default those that it was "
        "trained on, where it knows them, else every numeric column that is not kept",
    )
    add(
        "--keep",
        nargs="+",
        action="extend",
        help="the columns that stay in the output: a,b; '' for none; all by default",
    )
    add("--output", required=True, help="the folder to write to")
    add(
        "--output-format",
        choices=("parquet", "csv", "jsonl"),
        default="parquet",
        help="parquet if not told",
    )
    add("--output-column", default="prediction", help="the name of the predictions' column")
    add("--overwrite", action="store_true", help="replace the results that are in the folder")
    add(
        "--failures",
        help="a folder for the rows that fail, with the reason; without it a row that fails fails "
        "the run",
    )
    add(
        "--failure-threshold",
        type=float,
        default=1.0,
        help="the share of rows that may fail before the run does; 1 if not told, and a run in "
        "which every row failed does fail",
    )
    add(
        "--inference-args",
        type=dict[str, Any] | None,
        help="extra arguments of each call of the model: '{name: value}', or --inference-args.NAME",
    )
    add(
        "--report",
        help="an HTML file about the run: rates, batches, latencies, memory, failures, predictions",
    )
    add("--quiet", action="store_true", help="no progress and no summary")
    add("--json", action="store_true", help="the summary as one line of JSON, also with --quiet")
    add("--traceback", action="store_true", help="show where an error was raised")
    add(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="show what the libraries log, from this level on",
    )
    if name is not None:
        add_class_options(parser, "handler", handler_class(name), f"options of {name}")
    title = "how many rows go into a call of the model"
    add_class_options(parser, "batching", BatchConfig, title, skip=ROW_ONLY)
    add_class_options(parser, "execution", Execution, "where and how the model runs")
    return parser


def _as_lists(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [value] if key in _LISTS and isinstance(value, str) else value
        for key, value in config.items()
    }


def _options(
    name: str,
    parsed: Namespace,
    made: Namespace,
    defaults: Namespace,
    beam: list[str],
    arguments: list[str],
) -> ScoreOptions:
    def group(key: str) -> dict[str, Any]:
        return given_options(key, parsed, made, defaults)

    return ScoreOptions(
        handler=name,
        handler_options=group("handler"),
        inputs=parsed["input"],
        input_format=parsed["input_format"],
        column_types=parsed["column_types"] or {},
        csv_rows_are_lines=parsed["csv_rows_are_lines"],
        features=_names(parsed["features"]),
        keep=_names(parsed["keep"]),
        output=parsed["output"],
        output_format=parsed["output_format"],
        output_column=parsed["output_column"],
        overwrite=parsed["overwrite"],
        failures=parsed["failures"],
        failure_threshold=parsed["failure_threshold"],
        inference_args=made["inference_args"],
        batching=BatchConfig(**group("batching")),
        execution=Execution(**group("execution")),
        quiet=parsed["quiet"],
        json=parsed["json"],
        report=parsed["report"],
        log_level=parsed["log_level"],
        beam=beam,
        arguments=arguments,
    )


def _names(values: Sequence[str] | None) -> list[str] | None:
    if values is None:
        return None
    return [name for value in values for part in value.split(",") if (name := part.strip())]

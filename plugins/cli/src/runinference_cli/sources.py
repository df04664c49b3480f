"""The files to score: found by pattern, their format told by the suffix, their columns checked."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from runinference.hints import did_you_mean, listed
from runinference_cli.failures import UsageError
from runinference_cli.input_file import Source, readable
from runinference_cli.readers import parquet_groups
from runinference_cli.splits import Split, split_parquet, split_text
from runinference_cli.text_files import infer_schema

__all__ = ["Plan", "difference", "find_sources", "plan"]

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be read.

    Attributes:
        splits: of the files in the order of their names, each file's in the order of its rows.
        schema: the columns that all of them have; None where all of them are empty.
        rows: in all files together, where all of them tell.
    """

    splits: Sequence[Split]
    schema: pa.Schema | None
    rows: int | None


def find_sources(patterns: Iterable[str], input_format: str | None) -> list[Source]:
    """The files of these paths, folders and patterns, each once.

    Raises:
        UsageError: a pattern without a file, or a file whose format nobody knows.
    """
    found: dict[str, int] = {}
    for pattern in patterns:
        pattern = pattern.removeprefix("file://")
        matches = _match_remote(pattern) if "://" in pattern else _match_local(pattern)
        if not matches:
            raise UsageError(_no_match(pattern))
        found.update(matches)
    return [_source(path, size, input_format) for path, size in found.items()]


def plan(
    sources: Sequence[Source], column_types: Mapping[str, str], *, csv_rows_are_lines: bool = False
) -> Plan:
    """The columns of all files, read from the first one that has rows, and how they are shared.

    Raises:
        UsageError: Parquet files of different columns, or a type for a column that is not there.
        ReadError: a file that cannot be read.
    """
    types = _types(column_types)
    schema: pa.Schema | None = None
    header: pa.Schema | None = None
    first = ""
    splits: list[Split] = []
    for source in sources:
        if source.format == "parquet":
            own, groups = parquet_groups(source)
            splits += split_parquet(source, groups)
            if schema is None:
                schema, first = own, source.path
            elif problem := difference(own, schema):
                raise UsageError(
                    f"{source.path}: {problem}, unlike {first}: all files of a run need the same "
                    "columns"
                )
            continue
        if schema is None and (inferred := infer_schema(source, types)) is not None:
            header, first = inferred[0], source.path
            schema = header if inferred[1] else None
        with readable(source):
            splits += split_text(source, csv_rows_are_lines=csv_rows_are_lines)
    schema = header if schema is None else schema
    if schema is not None:
        twice = [name for name in schema.names if schema.names.count(name) > 1]
        if twice:
            raise UsageError(f"{first}: more than one column is called {twice[0]!r}")
        _check_types(types, schema, sources)
    counts = [split.rows for split in splits if split.rows is not None]
    return Plan(splits, schema, sum(counts) if len(counts) == len(splits) else None)


def difference(schema: pa.Schema, expected: pa.Schema) -> str:
    """How a file's columns differ from the expected ones, in any order; "" where they do not."""
    missing = [name for name in expected.names if name not in schema.names]
    extra = [name for name in schema.names if name not in expected.names]
    if missing:
        return f"it has no column {listed(missing)}"
    if extra:
        return f"it has another column {listed(extra)}"
    for field in expected:
        own = schema.field(field.name).type
        if own != field.type:
            return f"its column {field.name!r} is {own}, not {field.type}"
    return ""


def _match_local(pattern: str) -> dict[str, int]:
    path = Path(pattern)
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] not in "._")
    elif path.exists():
        inside = [path]
    else:
        inside = [p for p in map(Path, sorted(glob.glob(pattern, recursive=True))) if p.is_file()]
    return {str(p): p.stat().st_size for p in inside}


def _match_remote(pattern: str) -> dict[str, int]:
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    try:
        matched = FileSystems.match([pattern])[0].metadata_list
    except ValueError as error:
        raise UsageError(
            f"--input {pattern}: {error} (apache-beam's extras gcp, aws and azure bring more)"
        ) from error
    except BeamIOError as error:
        raise UsageError(f"--input {pattern}: cannot be looked up: {error}") from error
    return {found.path: found.size_in_bytes for found in sorted(matched, key=lambda m: m.path)}


def _no_match(pattern: str) -> str:
    if Path(pattern).is_dir():
        return f"--input {pattern}: the folder is empty"
    parent = os.path.dirname(pattern) or "."
    if "://" not in pattern and not glob.has_magic(parent) and not Path(parent).is_dir():
        return f"--input {pattern}: there is no folder {parent!r} (the current one is {Path.cwd()})"
    if glob.has_magic(pattern) or "://" in pattern:
        return f"--input {pattern}: no file matches"
    near = did_you_mean(os.path.basename(pattern), os.listdir(parent))
    return f"--input {pattern}: there is no such file; {near}".rstrip("; ")


def _source(path: str, size: int, input_format: str | None) -> Source:
    stem, suffix = os.path.splitext(path)
    compression = _COMPRESSIONS.get(suffix.lower())
    if compression is not None:
        suffix = os.path.splitext(stem)[1]
    kind = input_format or _FORMATS.get(suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path}: its suffix tells no format; known are {', '.join(_FORMATS)}, each also with "
            f"{', '.join(_COMPRESSIONS)}; or say --input-format"
        )
    if kind == "parquet" and compression is not None:
        raise UsageError(
            f"{path}: a compressed Parquet file cannot be read in parts: unpack it first "
            "(Parquet compresses its own columns)"
        )
    return Source(path, kind, compression, size)


def _types(column_types: Mapping[str, str]) -> dict[str, pa.DataType]:
    types = {}
    for name, alias in column_types.items():
        try:
            types[name] = pa.type_for_alias(alias)
        except ValueError as error:
            raise UsageError(
                f"--column-types {name}: no type {alias!r}; there are bool, int64, float32, "
                "float64, string, date32, timestamp[ms] and others of Arrow's"
            ) from error
    return types


def _check_types(
    types: Mapping[str, pa.DataType], schema: pa.Schema, sources: Sequence[Source]
) -> None:
    if types and all(source.format == "parquet" for source in sources):
        raise UsageError(
            "--column-types is for CSV and JSON Lines files: Parquet files tell their own types"
        )
    for name in types:
        if name not in schema.names:
            hint = did_you_mean(name, schema.names)
            raise UsageError(
                f"--column-types: no column {name!r}; {hint}there are {listed(schema.names)}"
            )

"""``runinference score``: files in, the same rows with predictions out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineState

from runinference.columns import select_features
from runinference.errors import FeatureError
from runinference.hints import did_you_mean, listed
from runinference.hooks import observing
from runinference.registry import create_handler
from runinference.table_edge import FAILURE_COLUMNS
from runinference.tables import RunTableInference
from runinference_cli.beam_options import runner_and_options
from runinference_cli.counts import Counts
from runinference_cli.failures import RunFailedError, UsageError, explain, original
from runinference_cli.options import ScoreOptions
from runinference_cli.pipeline import LostRowsError, ReadTables
from runinference_cli.progress import live
from runinference_cli.sampling import sampled_often
from runinference_cli.sources import Plan, find_sources, plan
from runinference_cli.staging import Staging, staging
from runinference_cli.summary import Summary
from runinference_cli.write_tables import WriteTables, Written, read_manifest
from runinference_cli.writers import SUFFIXES, check_writable, write_empty

if TYPE_CHECKING:
    from runinference_cli.score_report import ScoreReport

__all__ = ["score"]


def score(options: ScoreOptions) -> Summary:
    """Score the files and put the results into place.

    Raises:
        UsageError: something that is seen before anything is read.
        RunFailedError: a row was not scored; nothing is left in the output folder.
    """
    _check_failures(options)
    runner, beam_options = runner_and_options(options.beam, options.log_level)
    handler = create_handler(options.handler, **options.handler_options)
    inference = RunTableInference(
        handler,
        features=options.features,
        output=options.output_column,
        keep=options.keep,
        batching=options.batching,
        execution=options.execution,
        inference_args=options.inference_args,
    )
    planned = plan(
        find_sources(options.inputs, options.input_format),
        options.column_types,
        csv_rows_are_lines=options.csv_rows_are_lines,
    )
    if planned.schema is not None:
        _check_columns(options, planned.schema)
    counts = Counts()
    report = _report(options, handler, planned, runner)
    observers = [counts] if report is None else [counts, report.heard]
    with contextlib.ExitStack() as stack:
        if report is not None:
            stack.enter_context(report.written())
        overwrite = options.overwrite
        stage = stack.enter_context(staging(options.output, overwrite=overwrite))
        aside = None
        if options.failures is not None:
            aside = stack.enter_context(
                staging(options.failures, overwrite=overwrite, option="--failures")
            )
            inference = inference.with_exception_handling(threshold=options.failure_threshold)
        start = time.perf_counter()
        scored: Sequence[Written] = []
        failed: Sequence[Written] = []
        if planned.schema is not None:
            pipeline = beam.Pipeline(runner=runner, options=beam_options)
            _build(pipeline, options, planned, planned.schema, inference, stage, aside)
            is_heard = _is_heard(pipeline)
            if report is not None:
                report.is_heard = is_heard
            shown = live(counts, planned.rows, is_heard=is_heard)
            with observing(*observers), contextlib.nullcontext() if options.quiet else shown:
                _run(pipeline, counts)
            manifest = None if aside is None else aside.manifest
            scored, failed = read_manifest(stage.manifest, planned.splits, manifest)
            scored = _complete(scored)
        if aside is not None:
            _publish_failures(aside, failed, planned.schema, options.output_format)
        stage.publish([entry.file for entry in scored], SUFFIXES[options.output_format])
        summary = Summary(
            rows=sum(entry.rows for entry in scored),
            seconds=time.perf_counter() - start,
            files=len(scored),
            output=options.output,
            counts=counts,
            failed_rows=None if aside is None else sum(entry.rows for entry in failed),
            failures=options.failures,
            report=options.report,
        )
        if report is not None:
            report.summary = summary
    return summary


def _report(options: ScoreOptions, handler: Any, planned: Plan, runner: Any) -> ScoreReport | None:
    if options.report is None:
        return None
    from runinference_cli.score_report import ScoreReport  # which imports what draws

    return ScoreReport(options.report, options, handler, planned, runner)


def _publish_failures(
    aside: Staging, failed: Sequence[Written], schema: pa.Schema | None, file_format: str
) -> None:
    """Put the failed rows into place; an empty file where there are none, for who reads them."""
    files = [entry.file for entry in failed]
    if schema is not None and not files:
        columns = [field for field in schema if field.name not in FAILURE_COLUMNS]
        reasons = [pa.field(name, pa.string()) for name in FAILURE_COLUMNS]
        files = ["none"]
        write_empty(aside.written / "none", pa.schema([*columns, *reasons]), file_format)
    aside.publish(files, SUFFIXES[file_format])


def _build(
    pipeline: beam.Pipeline,
    options: ScoreOptions,
    planned: Plan,
    schema: pa.Schema,
    inference: RunTableInference,
    stage: Staging,
    aside: Staging | None,
) -> None:
    splits = list(enumerate(planned.splits))
    # failed rows leave whole
    needed = inference.needed_columns(pipeline) if aside is None else None
    read = ReadTables(schema, needed)
    if _is_one_worker(pipeline):  # which reads on from split to split
        work = pipeline | beam.Impulse() | "Splits" >> beam.Map(lambda _: splits)
    else:  # several take them one by one, in any order
        work = pipeline | "Splits" >> beam.Create([[split] for split in splits])
    tables = work | "Read" >> beam.ParDo(read).with_output_types(pa.Table)
    if aside is None:
        _ = tables | inference | "Write" >> beam.ParDo(_writer(stage, options, "all"))
        return
    scored, dead = tables | inference
    _ = scored | "Write" >> beam.ParDo(_writer(stage, options, "scored"))
    failed = dead.failed_inferences
    _ = failed | "WriteFailures" >> beam.ParDo(_writer(aside, options, "failed"))


def _writer(
    stage: Staging, options: ScoreOptions, rows: Literal["all", "scored", "failed"]
) -> WriteTables:
    return WriteTables(str(stage.written), str(stage.manifest), options.output_format, rows)


def _is_one_worker(pipeline: beam.Pipeline) -> bool:
    workers = pipeline.options.view_as(DirectOptions).direct_num_workers
    return isinstance(pipeline.runner, FnApiRunner) and workers == 1


def _is_heard(pipeline: beam.Pipeline) -> bool:
    """Whether the model runs in this process, where observers hear of it."""
    mode = pipeline.options.view_as(DirectOptions).direct_running_mode
    return isinstance(pipeline.runner, FnApiRunner) and mode != "multi_processing"


def _run(pipeline: beam.Pipeline, counts: Counts) -> None:
    try:
        with sampled_often():
            state = pipeline.run().wait_until_finish()
    except BaseException as wrapped:
        error = original(wrapped)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error from None
        where = ""
        if counts.failed is not None and counts.failed[0] is error:
            where = counts.failed[1]
        raise RunFailedError(explain(error, where)) from wrapped
    if state is not None and state != PipelineState.DONE:
        raise RunFailedError(f"the runner ended with the state {state}")


def _complete(written: Sequence[Written]) -> Sequence[Written]:
    """The files to put into place: those with rows, or the first where there are none at all."""
    filled = [entry for entry in written if entry.rows] or written[:1]
    for entry in filled:
        if entry.columns != filled[0].columns:
            raise LostRowsError(
                "the model's predictions have different columns in different files: "
                f"{filled[0].columns} and {entry.columns}"
            )
    return filled


def _check_failures(options: ScoreOptions) -> None:
    threshold = options.failure_threshold
    if not 0 <= threshold <= 1:
        raise UsageError(f"--failure-threshold {threshold}: a share is needed, from 0 to 1")
    if options.failures is None:
        if threshold != 1:
            raise UsageError(
                "--failure-threshold needs --failures FOLDER: without it the first row that fails "
                "fails the run"
            )
        return
    output, failures = os.path.realpath(options.output), os.path.realpath(options.failures)
    if os.path.commonpath([output, failures]) in (output, failures):
        raise UsageError(
            f"--failures {options.failures}: it has to be another folder than --output "
            f"{options.output}, and none inside the other"
        )


def _check_columns(options: ScoreOptions, schema: pa.Schema) -> None:
    for name in options.keep or ():
        if name not in schema.names:
            raise UsageError(
                f"--keep: no column {name!r}; {did_you_mean(name, schema.names)}there are "
                f"{listed(schema.names)}"
            )
    if options.features is not None:
        try:
            select_features(schema.empty_table(), options.features)
        except FeatureError as error:
            raise UsageError(f"--features: {error}") from error
    kept = schema.names if options.keep is None else options.keep
    if options.output_column in kept:
        raise UsageError(
            f"there is a column {options.output_column!r} already: name another --output-column, "
            "or leave it out of --keep"
        )
    if options.failures is not None:
        check_writable(schema, options.output_format)
    check_writable(schema.empty_table().select(list(kept)).schema, options.output_format)

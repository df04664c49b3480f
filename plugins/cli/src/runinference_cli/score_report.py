"""The report of a run of ``runinference score``: what the command knows, and what is heard."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import os
from collections.abc import Iterator
from typing import Any, Literal

from runinference_cli.failures import RunFailedError, UsageError, explain, original
from runinference_cli.options import ScoreOptions
from runinference_cli.run_report.collected import Collected
from runinference_cli.run_report.facts import (
    Run,
    command_line,
    machine,
    options_told,
    origin,
    versions,
)
from runinference_cli.run_report.page import page
from runinference_cli.run_report.report import check_place, write_page
from runinference_cli.sources import Plan
from runinference_cli.stages import staged
from runinference_cli.summary import Summary

__all__ = ["ScoreReport"]

_UNHEARD = (
    "The model ran in other processes, where this report does not hear of it: it tells rows, and "
    "neither calls nor stages nor predictions."
)
_log = logging.getLogger(__name__)


class ScoreReport:
    """Listens to a run, and writes its report when it ends, however it ends.

    Attributes:
        heard: the observer to be registered.
        is_heard: whether the model runs in this process; to be set where it does not.
        summary: to be set when the results are in their place.

    Raises:
        UsageError: no report can be put there.
    """

    def __init__(
        self, path: str, options: ScoreOptions, handler: Any, planned: Plan, runner: Any
    ) -> None:
        for option, folder in (("--output", options.output), ("--failures", options.failures)):
            if folder is not None and _is_inside(path, folder):
                raise UsageError(
                    f"--report {path}: it has to be outside of {option} {folder}, which holds "
                    "results and nothing else"
                )
        self._place = check_place(path, "--report")
        self._options = options
        self._handler = handler
        self._planned = planned
        self._runner = runner
        self.heard = Collected()
        self.is_heard = True
        self.summary: Summary | None = None

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Write it at the end of the block, unless that ends before anything was read.

        Raises:
            RunFailedError: it cannot be written, though the run has succeeded.
        """
        began = datetime.datetime.now().astimezone()
        self.heard.start()
        with staged() as stages:
            run = Run(began, "Predicted", "done", stages=stages.seconds)
            try:
                yield
            except UsageError:
                self.heard.stop()
                raise
            except BaseException as error:
                self.heard.stop()
                is_stopped = isinstance(error, KeyboardInterrupt)
                message = str(error) if is_stopped else explain(original(error))
                run = dataclasses.replace(run, message=message)
                self._try_to_write(run, "interrupted" if is_stopped else "failed")
                raise
        self.heard.stop()
        self._write_success(run)

    def _try_to_write(self, run: Run, outcome: Literal["failed", "interrupted"]) -> None:
        try:
            self._write(dataclasses.replace(run, outcome=outcome))
        except OSError as error:
            _log.warning("the report cannot be written: %s", explain(error))

    def _write_success(self, run: Run) -> None:
        summary = self.summary
        assert summary is not None
        run = dataclasses.replace(
            run, verb="Scored", rows=summary.rows, failed_rows=summary.failed_rows or 0
        )
        try:
            self._write(run)
        except OSError as error:
            raise RunFailedError(
                f"the results are in {summary.output}, but the report cannot be written: "
                f"{explain(error)}"
            ) from error

    def _write(self, run: Run) -> None:
        is_heard = self.is_heard or self.heard.sizes.count
        run = dataclasses.replace(
            run,
            facts=self._facts(),
            failures_in=self._options.failures,
            stages=run.stages if is_heard else None,
            unheard="" if is_heard else _UNHEARD,
        )
        write_page(self._place, page(run, self.heard))

    def _facts(self) -> list[tuple[str, Any]]:
        options = self._options
        files = len({split.source.path for split in self._planned.splits})
        rows = "" if self._planned.rows is None else f", {self._planned.rows:,} rows"
        runner = type(self._runner).__name__
        return [
            ("Command", command_line(["runinference", "score", *options.arguments])),
            ("Handler", f"{options.handler} {self._origin()}".strip()),
            ("Its options", options_told(options.handler_options)),
            ("Batching", _given(options.batching)),
            ("Execution", _given(options.execution)),
            ("Runner", " ".join([runner, command_line(options.beam)]).strip()),
            ("Input", f"{', '.join(options.inputs)} ({files:,} files with rows{rows})"),
            ("Output", f"{options.output} ({options.output_format})"),
            ("Machine", machine()),
            ("Versions", versions()),
        ]

    def _origin(self) -> str:
        told = origin(type(self._handler))
        return f"({told})" if told else ""


def _given(config: Any) -> str:
    """The fields that are not at their defaults."""
    fields = dataclasses.fields(config)
    given = {f.name: getattr(config, f.name) for f in fields}
    return options_told({f.name: given[f.name] for f in fields if given[f.name] != f.default})


def _is_inside(path: str, folder: str) -> bool:
    place, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([place, folder]) == folder

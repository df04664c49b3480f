"""The runner of a run, and the options behind ``--``, which are Beam's."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from runinference.hints import did_you_mean
from runinference_cli.failures import UsageError
from runinference_cli.worker_process import with_quiet_workers

__all__ = ["runner_and_options"]

OptionsT = TypeVar("OptionsT", bound=PipelineOptions)


def runner_and_options(arguments: Sequence[str], level: str | None) -> tuple[Any, PipelineOptions]:
    """What Beam's options say; the embedded runner where they name none.

    Args:
        arguments: behind ``--``.
        level: of the logs that workers in other processes show; few where None.

    Raises:
        UsageError: an argument that is no option of Beam's, or has a value that it cannot have.
    """
    if arguments and not arguments[0].startswith("-"):
        raise UsageError(f"{arguments[0]!r} is no option of Beam's, to which go options behind --")
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            options = _WithViews(list(arguments))
            told = options.get_all_options(retain_unknown_options=True)
            known = options.get_all_options()
    except SystemExit as error:  # Beam's parser leaves the program with a usage message
        message = captured.getvalue().strip().rpartition("error: ")[2]
        raise UsageError(f"Beam's options (behind --): {message}") from error
    for name in told:
        if name not in known:
            raise UsageError(
                f"Beam has no option --{name}; {did_you_mean(name, list(known))}"
                "options behind -- go to Beam"
            )
    if known.get("runner") is None:
        return with_quiet_workers(FnApiRunner(), level), options
    try:
        return beam.Pipeline(options=options).runner, options
    except (ValueError, ImportError) as error:
        raise UsageError(f"Beam's options (behind --): {error}") from error


class _WithViews(PipelineOptions):
    """Keeps its views: Beam asks for sixty in a run, and parses all options anew for each."""

    def view_as(self, cls: type[OptionsT]) -> OptionsT:
        """All views share the values, so that the first is as good as another."""
        views: dict[type, Any] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: OptionsT = views[cls]
        return view

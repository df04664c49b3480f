"""One call of a model, in whatever thread, and what comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runinference.batch import Batch, Positions, TableBatch
from runinference.errors import NonFiniteError
from runinference.hooks import RemoteCalled
from runinference.memory import peak_bytes
from runinference.model import LoadedModel, Predictions
from runinference.nonfinite import nonfinite_positions
from runinference.rendering import columns_of_rows
from runinference.reporting import Reports, collected
from runinference.results import ExampleFailed, any_is

__all__ = ["Answer", "Outcome", "call"]


class Answer(NamedTuple):
    """What a model answered: predictions of the good positions, errors of the others."""

    good: Positions
    predictions: Predictions
    errors: dict[int, Exception]
    seconds: float
    grown_bytes: int | None
    collate_seconds: float | None
    nonfinite: int


class Outcome(NamedTuple):
    """A call that is over: its answer, or what it raised; and what the handler reported of it."""

    answer: Answer | None
    error: BaseException | None
    reports: Sequence[RemoteCalled]


def call(
    model: LoadedModel,
    batch: Batch,
    inference_args: dict[str, Any] | None,
    clock: Callable[[], float],
    *,
    in_flight: int,
    refuses_nonfinite: bool,
) -> Outcome:
    """Predict a batch, and check the predictions.

    Args:
        model: predicts.
        batch: as the model is to see it.
        inference_args: extra arguments of the call.
        clock: seconds.
        in_flight: how many calls are under way, this one included.
        refuses_nonfinite: whether a prediction that is not finite is a failure.
    """
    with collected(clock) as reports:
        try:
            answer = _ask(model, batch, inference_args, reports, refuses_nonfinite)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may raise anything
            return Outcome(None, error, _counted(reports, in_flight))
        return Outcome(answer, None, _counted(reports, in_flight))


def _counted(reports: Sequence[RemoteCalled], in_flight: int) -> Sequence[RemoteCalled]:
    return [dataclasses.replace(report, in_flight=in_flight) for report in reports]


def _ask(
    model: LoadedModel,
    batch: Batch,
    inference_args: dict[str, Any] | None,
    reports: Reports,
    refuses_nonfinite: bool,
) -> Answer:
    peak = peak_bytes()
    start = reports.clock()
    predictions = model.predict(batch, inference_args)
    seconds = reports.clock() - start
    grown_bytes = peak_bytes() - peak if model.is_here else None
    collate_seconds = None if reports.asked_at is None else reports.asked_at - start
    errors = _marked(predictions)
    nonfinite = nonfinite_positions(predictions)
    if refuses_nonfinite:
        message = f"{model.name} predicted a number that is not finite"
        errors |= {position: NonFiniteError(message) for position in nonfinite}
    good: Positions = range(len(batch))
    if errors:
        good = [position for position in good if position not in errors]
        predictions = _take(predictions, good)
    if isinstance(batch, TableBatch) and isinstance(predictions, list):
        predictions = columns_of_rows(predictions, batch.output)
    return Answer(good, predictions, errors, seconds, grown_bytes, collate_seconds, len(nonfinite))


def _marked(predictions: Predictions) -> dict[int, Exception]:
    """The examples that their handler marked as failed."""
    if not isinstance(predictions, list):
        return {}
    if not any_is(predictions, ExampleFailed):
        return {}
    return {
        position: prediction.error
        for position, prediction in enumerate(predictions)
        if isinstance(prediction, ExampleFailed)
    }


def _take(predictions: Predictions, positions: Positions) -> Predictions:
    if isinstance(predictions, list):
        return [predictions[position] for position in positions]
    return predictions.take(positions)

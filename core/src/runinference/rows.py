"""Between elements that are examples and batches of rows: keys, event times, results."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils import windowed_value

from runinference.batch import RowBatch, pick
from runinference.coders import TimedExample
from runinference.errors import ConfigurationError
from runinference.failures import FAILED, Failed, Failure
from runinference.results import PredictionResult
from runinference.worker import Part

__all__ = ["AttachTime", "RowEdge"]

_NO_KEY = object()
_MICROS, _PANE = operator.itemgetter(1), operator.itemgetter(2)


class AttachTime(beam.DoFn):
    """Pairs each element with its event time, which batching would move to the window's end."""

    def process(
        self, element: Any, windowed: Any = beam.DoFn.WindowedValueParam
    ) -> Iterable[TimedExample]:
        """One element in, one out."""
        return (TimedExample((element, windowed.timestamp_micros, windowed.pane_info)),)


class RowEdge:
    """Lists of examples in, results out.

    Args:
        keyed: None, ``"always"`` or ``"maybe"``: whether examples come in pairs with a key.
        timed: whether each example comes with its time, as :class:`AttachTime` gives it.
        is_batched: False where an element is a batch that the user made.
    """

    def __init__(self, keyed: str | None, *, timed: bool, is_batched: bool) -> None:
        self._keyed = keyed
        self._timed = timed
        self._is_batched = is_batched

    def open(self, element: Any) -> tuple[RowBatch, Sequence[Any] | None]:
        """The examples, and their keys where there are any."""
        values = element if self._is_batched else _own_batch(element)
        if self._timed:
            values = [value for value, _, _ in values]
        if self._keyed is None:
            return RowBatch(values), None
        keys: list[Any] = []
        examples: list[Any] = []
        for value in values:
            if isinstance(value, tuple) and len(value) == 2:
                key, example = value
            elif self._keyed == "maybe":
                key, example = _NO_KEY, value
            else:
                raise ConfigurationError(
                    "KeyedModelHandler takes (key, example) pairs, but an element is "
                    f"{value!r:.100}: use MaybeKeyedModelHandler if some have no key"
                )
            keys.append(key)
            examples.append(example)
        return RowBatch(examples), keys

    def emit(
        self,
        element: Any,
        batch: RowBatch,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        failures: Sequence[Failed],
        windows: Sequence[Any],
    ) -> Iterable[Any]:
        """One result per example, in the batch's order, each at its example's time."""
        results: list[Any] = batch.merge(
            (part.positions, _results(batch.take(part.positions).examples, part)) for part in parts
        )
        dead: Iterable[Any] = ()
        if failures:
            dead = self._dead_letters(element, batch, keys, failures, windows)
            left = sorted(position for part in parts for position in part.positions)
            results = [results[position] for position in left]
            keys = None if keys is None else pick(keys, left)
            element = pick(element, left) if self._timed else element
        if keys is not None:
            results = [
                result if key is _NO_KEY else (key, result)
                for key, result in zip(keys, results, strict=True)
            ]
        if not self._timed:
            return itertools.chain(dead, results) if failures else results
        # lazily: thousands of new objects alive at a time would wake the garbage collector
        micros, panes = map(_MICROS, element), map(_PANE, element)
        timed = map(windowed_value.create, results, micros, itertools.repeat(windows), panes)
        return itertools.chain(dead, timed)

    def locate(self, element: Any, position: int) -> str:
        """See :class:`runinference.worker.Edge`."""
        return f"example {position} of a batch"

    def _dead_letters(
        self,
        element: Any,
        batch: RowBatch,
        keys: Sequence[Any] | None,
        failures: Sequence[Failed],
        windows: Sequence[Any],
    ) -> Iterator[TaggedOutput[str, Any]]:
        for failed in failures:
            for position in failed.positions:
                key = None if keys is None or keys[position] is _NO_KEY else keys[position]
                example = batch.examples[position]
                failure = Failure(example, key, failed.stage, *failed.reason, failed.model_id)
                value: Any = failure
                if self._timed:
                    _, micros, pane = element[position]
                    value = windowed_value.create(failure, micros, windows, pane)
                yield TaggedOutput(FAILED, value)


def _own_batch(element: Any) -> list[Any]:
    if isinstance(element, str | bytes | Mapping) or not hasattr(element, "__len__"):
        raise ConfigurationError(
            "after with_no_batching() an element is a batch, a sequence of examples, but one is "
            f"{type(element).__name__}: {element!r:.100}"
        )
    if hasattr(element, "iloc"):
        raise ConfigurationError(
            f"after with_no_batching() an element is a sequence of examples, but one is a "
            f"{type(element).__name__}: put frames into a list, or use RunTableInference"
        )
    return list(element)


def _results(examples: Sequence[Any], part: Part) -> list[PredictionResult[Any, Any]]:
    model_ids = itertools.repeat(part.model_id, len(examples))
    rows = zip(examples, part.predictions, model_ids, strict=True)
    if not any(isinstance(prediction, PredictionResult) for prediction in part.predictions):
        return list(map(PredictionResult._make, rows))
    return [
        PredictionResult(prediction[0], prediction[1], prediction[2] or model_id)
        if isinstance(prediction, PredictionResult)
        else PredictionResult(example, prediction, model_id)
        for example, prediction, model_id in rows
    ]

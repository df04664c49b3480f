"""Between elements that are examples and batches of rows: keys, results."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue, create

from runinference.batch import RowBatch, pick
from runinference.coders import TimedExample
from runinference.errors import ConfigurationError
from runinference.failures import FAILED, Failed, Failure
from runinference.gathering import Elements
from runinference.results import PredictionResult, any_is
from runinference.work import Part

__all__ = ["AttachTime", "RowEdge", "held_batch", "own_batch", "timed_batch"]

_NO_KEY = object()
_VALUE = operator.attrgetter("value")


class AttachTime(beam.DoFn):
    """Pairs each element with its event time, where Beam is to hold it across bundles."""

    def process(
        self, element: Any, windowed: Any = beam.DoFn.WindowedValueParam
    ) -> Iterable[TimedExample]:
        """One element in, one out."""
        return (TimedExample((element, windowed.timestamp_micros, windowed.pane_info)),)


def own_batch(windowed: Any) -> Elements:
    """The examples of an element that is a batch that the user made, all at its time.

    Raises:
        ConfigurationError: it is no sequence of examples.
    """
    element = windowed.value
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
    return held_batch(windowed)


def held_batch(windowed: Any) -> Elements:
    """The examples that Beam held across bundles, all at the time of their batch."""
    return list(map(windowed.with_value, windowed.value))


def timed_batch(windowed: Any) -> Elements:
    """The same, each at the time that :class:`AttachTime` gave it."""
    windows = windowed.windows
    return [create(value, micros, windows, pane) for value, micros, pane in windowed.value]


class RowEdge:
    """Examples in, results out.

    Args:
        keyed: None, ``"always"`` or ``"maybe"``: whether examples come in pairs with a key.
        only_inference: whether predictions leave alone, instead of with their examples.
    """

    def __init__(self, keyed: str | None, *, only_inference: bool = False) -> None:
        self._keyed = keyed
        self._only_inference = only_inference

    def open(self, elements: Elements) -> tuple[RowBatch, Sequence[Any] | None]:
        """The examples, and their keys where there are any."""
        values = list(map(_VALUE, elements))
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
        elements: Elements,
        batch: RowBatch,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        failures: Sequence[Failed],
    ) -> Iterable[Any]:
        """One result per example, in the batch's order."""
        results: list[Any]
        if self._only_inference:
            results = batch.merge((part.positions, _inferences(part)) for part in parts)
        else:
            results = batch.merge(
                (part.positions, _results(batch.take(part.positions).examples, part))
                for part in parts
            )
        dead: Iterable[Any] = ()
        if failures:
            dead = _dead_letters(elements, batch, keys, failures)
            left = sorted(position for part in parts for position in part.positions)
            results = [results[position] for position in left]
            keys = None if keys is None else pick(keys, left)
            elements = pick(elements, left)
        if keys is not None:
            results = [
                result if key is _NO_KEY else (key, result)
                for key, result in zip(keys, results, strict=True)
            ]
        # lazily: thousands of new objects alive at a time would wake the garbage collector
        return itertools.chain(dead, map(WindowedValue.with_value, elements, results))

    def sizes(self, elements: Elements) -> Iterable[int]:
        """See :class:`runinference.worker.Edge`."""
        return itertools.repeat(1, len(elements))

    def locate(self, elements: Elements, position: int) -> str:
        """See :class:`runinference.worker.Edge`."""
        return f"example {position} of a batch"


def _dead_letters(
    elements: Elements, batch: RowBatch, keys: Sequence[Any] | None, failures: Sequence[Failed]
) -> Iterator[TaggedOutput[str, Any]]:
    for failed in failures:
        for position in failed.positions:
            key = None if keys is None or keys[position] is _NO_KEY else keys[position]
            example = batch.examples[position]
            failure = Failure(example, key, failed.stage, *failed.reason, failed.model_id)
            yield TaggedOutput(FAILED, elements[position].with_value(failure))


def _results(examples: Sequence[Any], part: Part) -> list[PredictionResult[Any, Any]]:
    model_ids = itertools.repeat(part.model_id, len(examples))
    rows = zip(examples, part.predictions, model_ids, strict=True)
    if not any_is(part.predictions, PredictionResult):
        # what PredictionResult._make does, without a call of Python for each
        return list(map(tuple.__new__, itertools.repeat(PredictionResult), rows))
    return [
        PredictionResult(prediction[0], prediction[1], prediction[2] or model_id)
        if isinstance(prediction, PredictionResult)
        else PredictionResult(example, prediction, model_id)
        for example, prediction, model_id in rows
    ]


def _inferences(part: Part) -> list[Any]:
    return [
        prediction[1] if isinstance(prediction, PredictionResult) else prediction
        for prediction in part.predictions
    ]

"""Dead letters of a step: the check that not too many examples failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from runinference.errors import TooManyFailuresError
from runinference.failures import Count, Failure, Reason

__all__ = ["check_failures"]

# Of a window of a stream: fewer say little about the share of failures.
_ENOUGH_TO_JUDGE = 100


def check_failures(
    counts: beam.PCollection[Count],
    before: Sequence[beam.PCollection[Failure]],
    after: Sequence[beam.PCollection[Failure]],
    threshold: float | None,
) -> None:
    """Fail the run when too large a share of its examples failed.

    Of a bounded collection all examples count together, and it is too much if each of them failed.
    Of an unbounded one those of a window count, if they are 100 or more.

    Args:
        counts: of the examples that reached the model.
        before: failures of examples that did not reach it.
        after: failures of examples that it had predicted.
        threshold: the share that may fail; None for all of them.
    """
    if threshold is None or (threshold == 1 and not counts.is_bounded):
        return
    parts = [counts]
    for number, failures in enumerate((*before, *after)):
        count = beam.Map(_count, int(number < len(before))).with_output_types(Count)
        parts.append(failures | f"CountFailures-{number}" >> count)
    every = counts if len(parts) == 1 else tuple(parts) | "AllCounts" >> beam.Flatten()
    every | "CheckFailures" >> _CheckFailures(threshold)


def _count(failure: Failure, examples: int) -> Count:
    return Count(examples, 1, Reason(failure.type, failure.message, "").text)


class _CheckFailures(beam.PTransform[Any, Any]):
    def __init__(self, threshold: float) -> None:
        super().__init__()
        self._threshold = threshold

    def expand(self, counts: beam.PCollection[Count]) -> beam.PCollection[Any]:
        """Add up and judge."""
        is_bounded = counts.is_bounded
        if is_bounded:
            counts = counts | "AllWindows" >> beam.WindowInto(GlobalWindows())
        enough = 1 if is_bounded else _ENOUGH_TO_JUDGE
        judge = beam.Map(_judge, self._threshold, enough, is_bounded)
        total: beam.PCollection[Count] = counts | beam.CombineGlobally(_add).without_defaults()
        judged: beam.PCollection[Any] = total | "Judge" >> judge
        return judged


def _add(counts: Iterable[Count]) -> Count:
    examples = failures = 0
    first = None
    for count in counts:
        examples += count[0]
        failures += count[1]
        first = first if first is not None else count[2]
    return Count(examples, failures, first)


def _judge(count: Sequence[Any], threshold: float, enough: int, is_bounded: bool) -> None:
    examples, failures, first = count
    if examples < enough or not failures:
        return
    if is_bounded and failures == examples:
        what = "the only example" if examples == 1 else f"every one of the {examples:,} examples"
        raise TooManyFailuresError(f"{what} failed, so that there is no result; first: {first}")
    if failures > threshold * examples:
        raise TooManyFailuresError(
            f"{failures:,} of {examples:,} examples failed ({failures / examples:.1%}), more than "
            f"the threshold of {threshold:.1%} allows; first: {first}"
        )

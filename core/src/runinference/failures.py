"""Examples that failed: how they are told apart from the others, and what leaves in their place."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from apache_beam import pvalue

from runinference.batch import Positions

__all__ = [
    "COUNTS",
    "FAILED",
    "Count",
    "Failed",
    "Failure",
    "FailurePolicy",
    "Isolation",
    "Reason",
    "RunInferenceDLQ",
]

FAILED = "failed_inferences"
"""The tag of the output of failures."""

COUNTS = "counts"
"""The tag of the output of :class:`Count`."""

_log = logging.getLogger(__name__)
_OWN = "runinference.errors."
_LONGEST_TRACEBACK = 10_000


class Failure(NamedTuple):
    """An example without a result, and why.

    Attributes:
        example: what the failing step was given: an example, or the ``PredictionResult`` where a
            postprocess function failed.
        key: the example's key; None where it has none.
        stage: ``"preprocess"``, ``"load"``, ``"inference"`` or ``"postprocess"``.
        type: the exception's type with its module, as ``package.module.Class``.
        message: the exception's message.
        traceback: the exception's traceback, with those of its causes.
        model_id: the model that was asked; None where it was not yet known.
    """

    example: Any
    key: Any
    stage: str
    type: str
    message: str
    traceback: str
    model_id: str | None


class RunInferenceDLQ(NamedTuple):
    """The dead letters of a step.

    Attributes:
        failed_inferences: failures of the model, of :class:`Failure`; for tables, the failed rows
            with three columns that tell why.
        failed_preprocessing: one PCollection of :class:`Failure` per preprocess function.
        failed_postprocessing: one PCollection of :class:`Failure` per postprocess function.
    """

    failed_inferences: pvalue.PCollection[Any]
    failed_preprocessing: Sequence[pvalue.PCollection[Failure]]
    failed_postprocessing: Sequence[pvalue.PCollection[Failure]]


class Reason(NamedTuple):
    """An exception as text, which can travel whatever the exception holds."""

    type: str
    message: str
    traceback: str

    @property
    def text(self) -> str:
        """In one line, as Python ends a traceback."""
        return f"{self.type}: {self.message}" if self.message else self.type

    @property
    def brief(self) -> str:
        """The message alone where it is one of this package, which says all that is to be said."""
        return self.message if self.type.startswith(_OWN) else self.text

    @classmethod
    def of(cls, error: BaseException) -> Reason:
        """The texts of an exception."""
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else _full_name(kind)
        # the frames of the worker say nothing to a reader; those of the handler stand at the end
        text = "".join(traceback.format_exception(error))
        if len(text) > _LONGEST_TRACEBACK:
            text = f"...\n{text[-_LONGEST_TRACEBACK:]}"
        return cls(name, str(error), text)


class Failed(NamedTuple):
    """Examples of a batch that failed for one reason."""

    positions: Positions
    reason: Reason
    model_id: str | None
    stage: str = "inference"


class Count(NamedTuple):
    """How many examples went in, how many of them failed, and the first reason."""

    examples: int
    failures: int
    first: str | None = None


@dataclasses.dataclass(frozen=True)
class FailurePolicy:
    """What becomes of a call of the model that raises.

    Attributes:
        exc_class: exceptions that fail examples; any other fails the bundle. None by default.
        isolate: whether the examples to blame are searched for by bisection; otherwise every
            example of the call fails.
        is_fatal: the first example that is found to fail fails the bundle.
        refuses_nonfinite: whether a prediction that is not finite is a failure.
    """

    exc_class: type[Exception] | tuple[type[Exception], ...] = ()
    isolate: bool = True
    is_fatal: bool = False
    refuses_nonfinite: bool = False


class Isolation:
    """Whether the search for bad examples is worth its calls, learnt from one model's calls.

    Where a model refuses everything, isolating n examples takes 2n calls and finds nothing. After
    ``enough`` examples in a row that failed on their own, without one success, it is stopped; the
    next success starts it again.
    """

    def __init__(self, enough: int = 512) -> None:
        self._enough = enough
        self._failed_in_row = 0

    @property
    def is_stopped(self) -> bool:
        """Whether failing calls are to be taken as wholly failed."""
        return self._failed_in_row >= self._enough

    def succeeded(self) -> None:
        """Take note of a call that succeeded."""
        self._failed_in_row = 0

    def failed(self, name: str) -> None:
        """Take note of an example that failed on its own."""
        was_stopped = self.is_stopped
        self._failed_in_row += 1
        if self.is_stopped and not was_stopped:
            _log.warning(
                "%s: %d examples in a row failed, each on its own. From here on a call that fails "
                "is not divided, unless one of a few of its examples is predicted",
                name,
                self._failed_in_row,
            )


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"

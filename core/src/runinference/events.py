"""What observers are told of models and batches."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = [
    "BatchFailed",
    "BatchHalved",
    "BatchPredicted",
    "ExamplesDeduplicated",
    "ExamplesFailed",
    "ModelClosed",
    "ModelLoaded",
    "ModelRefused",
    "RemoteCalled",
]


@dataclasses.dataclass(frozen=True)
class ModelLoaded:
    """A model is ready.

    Attributes:
        handler: its name.
        model_id: names the model.
        seconds: the load alone.
        byte_size: what the process grew by.
        sha256: of the model's file, 64 hexadecimal digits; None where the handler tells none.
    """

    handler: str
    model_id: str | None
    seconds: float
    byte_size: int
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelClosed:
    """A model was released."""

    handler: str
    model_id: str | None


@dataclasses.dataclass(frozen=True)
class ModelRefused:
    """A model that was to take the place of another cannot be loaded or is not valid."""

    path: str
    error: Exception


@dataclasses.dataclass(frozen=True)
class BatchPredicted:
    """A call of the model succeeded.

    Attributes:
        handler: its name.
        model_id: names the model that predicted.
        size: examples.
        byte_size: of the examples.
        seconds: from its examples to its checked predictions.
        tokens: the sum of the examples' lengths; None where the handler does not tell them.
        padded_tokens: the longest one's length times ``size``.
        nonfinite: predictions that are not finite, failed ones included.
        collate_seconds: of ``seconds``, until the model got its batch; None where nobody tells.
        prepare_seconds: before ``seconds``; the first of the calls that it was for tells it.
        predictions: a list, or the columns of a table; not to be changed, nor to be kept for long.
    """

    handler: str
    model_id: str | None
    size: int
    byte_size: int
    seconds: float
    tokens: int | None = None
    padded_tokens: int | None = None
    nonfinite: int = 0
    collate_seconds: float | None = None
    prepare_seconds: float = 0.0
    predictions: Any = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class BatchFailed:
    """A call of the model raised."""

    handler: str
    model_id: str | None
    size: int
    error: Exception


@dataclasses.dataclass(frozen=True)
class BatchHalved:
    """A call of the model ran out of memory, and each half of its examples is tried on its own."""

    handler: str
    model_id: str | None
    size: int


@dataclasses.dataclass(frozen=True)
class ExamplesFailed:
    """Examples leave without a result, all for one reason.

    Attributes:
        handler: its name.
        model_id: names the model that was asked.
        size: examples.
        stage: ``"load"`` or ``"inference"``.
        error_type: of the exception, with its module.
        message: of the exception.
    """

    handler: str
    model_id: str | None
    size: int
    stage: str
    error_type: str
    message: str


@dataclasses.dataclass(frozen=True)
class ExamplesDeduplicated:
    """Examples got the prediction of an equal one, without a call of the model.

    Attributes:
        handler: its name.
        model_id: names the model that predicted the one.
        size: examples.
    """

    handler: str
    model_id: str | None
    size: int


@dataclasses.dataclass(frozen=True)
class RemoteCalled:
    """A call of a remote model is over, whether it succeeded or not.

    Attributes:
        handler: its name.
        model_id: names the model.
        latencies: the seconds of each request that it took, the retries last.
        throttled_s: how long it was held back by rate limits, throttling or the server's wish.
        is_rejected: no further request was made, since the server had failed for a while.
        in_flight: how many calls of the worker were under way when it began, with this one.
    """

    handler: str
    model_id: str | None
    latencies: tuple[float, ...]
    throttled_s: float
    is_rejected: bool
    in_flight: int = 1

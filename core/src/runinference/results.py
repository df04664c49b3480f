"""What leaves a RunInference step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

__all__ = ["ExampleFailed", "PredictionResult", "any_is"]

ExampleT = TypeVar("ExampleT")
PredictionT = TypeVar("PredictionT")


class PredictionResult(NamedTuple, Generic[ExampleT, PredictionT]):
    """One example with its prediction.

    Attributes:
        example: what the handler was given: after the preprocess functions, before its ``prepare``.
        inference: the model's prediction for this example alone.
        model_id: the model that predicted: its path, and ``@`` the first 12 hexadecimal digits of
            its SHA-256 where it is a file; None where the handler does not tell.
    """

    example: ExampleT
    inference: PredictionT
    model_id: str | None = None


@dataclasses.dataclass(frozen=True)
class ExampleFailed:
    """What a handler puts at the position of an example that failed while the others did not.

    Attributes:
        error: why.
    """

    error: Exception


def any_is(values: Iterable[Any], kind: type[Any]) -> bool:
    """Whether one of many values is of a class: each class that occurs is looked at once."""
    return any(issubclass(one, kind) for one in set(map(type, values)))

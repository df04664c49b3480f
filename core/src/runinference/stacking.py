"""Stack examples of one shape into an array, and say which of them does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runinference.errors import ExampleError

__all__ = ["different_shapes", "kind_of", "require_alike", "stack"]


def stack(examples: Sequence[Any]) -> np.ndarray[Any, Any]:
    """All examples in one array, in order: ``[examples, ...]``.

    Args:
        examples: at least one; arrays, numbers, texts, or sequences of them.

    Raises:
        ExampleError: an example that has no values in an order (None, a dict, a frame), or examples
            of different shapes or kinds.
    """
    first = examples[0]
    if first is None or isinstance(first, Mapping) or hasattr(first, "columns"):
        raise ExampleError(
            f"example 0 is {kind_of(first)}: give its values as an array or a sequence, in the "
            "order in which the model takes them"
        )
    try:
        stacked = np.stack(examples)
    except ValueError as error:
        raise _different(examples) from error
    if stacked.dtype.kind in "US":
        # numpy makes texts of all values of a sequence in which there is one
        return _without_conversion(examples, stacked)
    if stacked.dtype.kind == "O" and stacked.ndim < 2:
        require_alike(lambda example: isinstance(example, type(first)), examples)
    return stacked


def require_alike(is_alike: Callable[[Any], bool], examples: Sequence[Any]) -> None:
    """Refuse examples of several kinds.

    Raises:
        ExampleError: names the first one that is not like the first of all.
    """
    for position, example in enumerate(examples):
        if not is_alike(example):
            raise ExampleError(
                f"example {position} is {kind_of(example)}, while example 0 is "
                f"{kind_of(examples[0])}: the examples of one model are of one kind"
            )


def different_shapes(position: int, first: tuple[int, ...], other: tuple[int, ...]) -> ExampleError:
    """The error for an example of another shape than the first one's."""
    return ExampleError(
        f"example {position} has shape {other}, while example 0 has shape {first}: give each the "
        "model's features, or predict them one by one with "
        "RunInference(..., batching=BatchConfig(max_size=1))"
    )


def kind_of(example: Any) -> str:
    """An example's class, for messages."""
    return "None" if example is None else f"a {type(example).__name__}"


def _without_conversion(
    examples: Sequence[Any], stacked: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    values = np.empty(stacked.shape, dtype=object)
    for position, example in enumerate(examples):
        values[position] = example.tolist() if isinstance(example, np.ndarray) else example
    return stacked if all(isinstance(value, str | bytes) for value in values.flat) else values


def _different(examples: Sequence[Any]) -> ExampleError:
    shapes = []
    for position, example in enumerate(examples):
        try:
            shapes.append(np.shape(example))
        except ValueError:  # numpy's own words name no example
            return ExampleError(f"example {position} is not one row: its values differ in length")
    for position, shape in enumerate(shapes):
        if shape != shapes[0]:
            return different_shapes(position, shapes[0], shape)
    return ExampleError(f"{len(examples)} examples such as {examples[0]!r:.100} make no batch")

"""Stack single rows of any kind into what a scikit-learn model takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runinference.errors import ExampleError

__all__ = ["stack"]


def stack(examples: Sequence[Any]) -> Any:
    """All examples in one object, in order.

    Returns:
        for texts, a list; for scalars, an array ``[examples]``; for rows, ``[examples, features]``;
        for sparse rows, a CSR matrix of this shape.

    Raises:
        ExampleError: an example that is no row, or rows of different shapes or kinds.
    """
    first = examples[0]
    if _is_text(first):
        _require(_is_text, examples)
        return list(examples)
    if _is_sparse(first):
        _require(_is_sparse, examples)
        return _sparse_matrix(examples)
    if first is None or isinstance(first, Mapping) or hasattr(first, "columns"):
        raise ExampleError(
            f"example 0 is {_kind(first)}: give its values in the order of the model's features, "
            "or a DataFrame to SklearnModelHandlerPandas (sklearn-pandas)"
        )
    try:
        stacked = np.stack(examples)
    except ValueError as error:
        raise _different(examples) from error
    if stacked.dtype.kind in "US":
        # numpy makes texts of all values of a sequence in which there is one
        return _without_conversion(examples, stacked)
    if stacked.dtype.kind == "O" and stacked.ndim < 2:
        _require(lambda example: isinstance(example, type(first)), examples)
    return stacked


def _sparse_matrix(examples: Sequence[Any]) -> Any:
    from scipy import sparse

    rows = [row if row.ndim == 2 else row.reshape(1, -1) for row in examples]
    for position, row in enumerate(rows):
        if row.shape[0] != 1:
            raise ExampleError(
                f"example {position} is a sparse matrix of {row.shape[0]} rows: an example is one "
                "row"
            )
        if row.shape != rows[0].shape:
            raise _different_shapes(position, rows[0].shape, row.shape)
    return sparse.vstack(rows, format="csr")


def _without_conversion(examples: Sequence[Any], stacked: np.ndarray[Any, Any]) -> Any:
    values = np.empty(stacked.shape, dtype=object)
    for position, example in enumerate(examples):
        values[position] = example.tolist() if isinstance(example, np.ndarray) else example
    return stacked if all(map(_is_text, values.flat)) else values


def _require(is_alike: Callable[[Any], bool], examples: Sequence[Any]) -> None:
    for position, example in enumerate(examples):
        if not is_alike(example):
            raise ExampleError(
                f"example {position} is {_kind(example)}, while example 0 is {_kind(examples[0])}: "
                "the examples of one model are of one kind"
            )


def _different(examples: Sequence[Any]) -> ExampleError:
    shapes = []
    for position, example in enumerate(examples):
        try:
            shapes.append(np.shape(example))
        except ValueError:  # numpy's own words name no example
            return ExampleError(f"example {position} is not one row: its values differ in length")
    for position, shape in enumerate(shapes):
        if shape != shapes[0]:
            return _different_shapes(position, shapes[0], shape)
    return ExampleError(f"{len(examples)} examples such as {examples[0]!r:.100} make no batch")


def _different_shapes(
    position: int, first: tuple[int, ...], other: tuple[int, ...]
) -> ExampleError:
    return ExampleError(
        f"example {position} has shape {other}, while example 0 has shape {first}: give each the "
        "model's features, or predict them one by one with "
        "RunInference(..., batching=BatchConfig(max_size=1))"
    )


def _is_text(example: Any) -> bool:
    return isinstance(example, str | bytes)


def _is_sparse(example: Any) -> bool:
    return hasattr(example, "tocsr")  # scipy.sparse is not imported for those who have no such rows


def _kind(example: Any) -> str:
    return "None" if example is None else f"a {type(example).__name__}"

"""Stack single rows of any kind into what a scikit-learn model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runinference import stacking
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
        stacking.require_alike(_is_text, examples)
        return list(examples)
    if _is_sparse(first):
        stacking.require_alike(_is_sparse, examples)
        return _sparse_matrix(examples)
    if isinstance(first, Mapping) or hasattr(first, "columns"):
        raise ExampleError(
            f"example 0 is {stacking.kind_of(first)}: give its values in the order of the model's "
            "features, or a DataFrame to SklearnModelHandlerPandas (sklearn-pandas)"
        )
    return stacking.stack(examples)


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
            raise stacking.different_shapes(position, rows[0].shape, row.shape)
    return sparse.vstack(rows, format="csr")


def _is_text(example: Any) -> bool:
    return isinstance(example, str | bytes)


def _is_sparse(example: Any) -> bool:
    return hasattr(example, "tocsr")  # scipy.sparse is not imported for those who have no such rows

"""Join DataFrames into one, and cut outputs of their rows into those of each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runinference.errors import ExampleError, FeatureError
from runinference.hints import listed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cut", "join", "num_bytes"]


def join(frames: Sequence[pd.DataFrame], names: Sequence[str] | None) -> pd.DataFrame:
    """The rows of all frames, in order, in one frame; each frame keeps its index there.

    Args:
        frames: of one row or more each, and of the same columns in any order.
        names: the columns to keep, in their order; the first frame's where None.

    Raises:
        ExampleError: no frame, or one without rows.
        FeatureError: a frame lacks a column.
    """
    import pandas as pd

    for position, frame in enumerate(frames):
        if not isinstance(frame, pd.DataFrame):
            raise ExampleError(
                f"example {position} is a {type(frame).__name__}: SklearnModelHandlerPandas takes "
                "DataFrames, SklearnModelHandlerNumpy (sklearn-numpy) arrays, texts and sequences"
            )
        if not len(frame):
            raise ExampleError(f"example {position} is a frame without rows")
        if position and frame.columns.equals(frames[0].columns):
            continue
        if names is not None:
            _check_columns(frame, names, f"example {position} lacks", "the model was trained on")
        elif position:
            _check_columns(
                frame, list(frames[0].columns), f"example {position} lacks", "example 0 has"
            )
            _check_columns(
                frames[0], list(frame.columns), "example 0 lacks", f"example {position} has"
            )
    joined = frames[0] if len(frames) == 1 else pd.concat(list(frames))
    if names is None or list(joined.columns) == list(names):
        return joined
    return joined[list(names)]


def cut(outputs: Any, lengths: Sequence[int]) -> Any:
    """The same structure with one entry per frame in each leaf.

    A frame of one row has that row's entry, a longer one as many entries as rows.

    Args:
        outputs: a leaf of as many entries as all frames have rows, or a structure of such leaves.
        lengths: the number of rows of each frame.
    """
    if isinstance(outputs, Mapping):
        return {key: cut(leaf, lengths) for key, leaf in outputs.items()}
    if isinstance(outputs, tuple):
        make = getattr(type(outputs), "_make", tuple)
        return make(cut(leaf, lengths) for leaf in outputs)
    leaf = outputs.tocsr() if hasattr(outputs, "tocsr") else outputs
    rows = leaf.iloc if hasattr(leaf, "iloc") else leaf
    entries = []
    end = 0
    for length in lengths:
        start, end = end, end + length
        is_row = length == 1 and getattr(leaf, "columns", None) is None
        entries.append(_owned(rows[start] if is_row else rows[start:end]))
    return entries


def num_bytes(frames: Sequence[pd.DataFrame]) -> int:
    """Bytes of the values in frames of equal columns; 8 for a text, whatever its length.

    Looks at no value: ``DataFrame.memory_usage`` takes most of a millisecond for each frame.
    """
    if not frames:
        return 0
    width = sum(int(getattr(dtype, "itemsize", 8)) for dtype in frames[0].dtypes)
    return width * sum(map(len, frames))


def _owned(entry: Any) -> Any:
    # a view would keep the outputs of the whole batch alive
    return entry.copy() if getattr(entry, "ndim", 0) else entry


def _check_columns(frame: pd.DataFrame, names: Sequence[Any], who: str, origin: str) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise FeatureError(
            f"{who} {'columns' if len(missing) > 1 else 'column'} "
            f"{listed(missing)}, which {origin}; it has "
            f"{listed(frame.columns) or 'none'}"
        )

"""Handlers whose examples are DataFrames: frames joined into one, outputs cut into each one's.

pandas is imported where a frame is, never by the core itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runinference.errors import ExampleError, FeatureError
from runinference.frame_blocks import concatenate
from runinference.handler import ModelT, VectorModelHandler
from runinference.hints import listed
from runinference.reporting import asking

__all__ = ["FrameModelHandler", "cut", "join", "num_bytes"]


class FrameModelHandler(VectorModelHandler[Any, ModelT]):
    """A handler that takes DataFrames of one row or more, and asks its model about all their rows.

    A frame of one row has that row's prediction; one of more has one entry per row.
    """

    array_handler: str | None = None
    """The handler of arrays for the same models, for the error about what is no frame."""

    def frame_columns(self, model: ModelT) -> Sequence[str] | None:
        """The columns that the model gets, in their order; those of the first frame where None."""
        return self.feature_names(model)

    def collate(self, examples: Sequence[Any], model: ModelT) -> Any:
        """One frame of all rows, with the columns in the model's order.

        Raises:
            ExampleError: an example that is no frame, or has no rows.
            FeatureError: a frame lacks a column that the model needs.
        """
        return join(
            examples,
            self.frame_columns(model),
            source=type(self).__qualname__,
            array_handler=self.array_handler,
        )

    def collate_table(self, table: Any, model: ModelT) -> Any:
        """A frame of the table's columns, in the model's order.

        Raises:
            FeatureError: an absent column.
        """
        names = self.frame_columns(model)
        if names is not None:
            missing = [name for name in names if name not in table.column_names]
            if missing:
                raise FeatureError(
                    f"the model was trained on {listed(missing)}, not among the "
                    f"features {listed(table.column_names)}"
                )
            table = table.select(list(names))
        # Metadata of the frame that a table once was would turn columns into an index.
        return table.to_pandas(ignore_metadata=True)

    def examples_from(self, table: Any, model: ModelT) -> Sequence[Any]:
        """The rows of a table as frames of one row each."""
        frame = table.to_pandas(ignore_metadata=True)
        return [frame.iloc[row : row + 1] for row in range(len(frame))]

    def run_prepared(
        self, examples: Sequence[Any], model: ModelT, inference_args: dict[str, Any] | None
    ) -> list[Any]:
        """One prediction per frame, in order."""
        lengths = [len(frame) for frame in examples]
        outputs = self.predict(asking(self.collate(examples, model)), model, inference_args)
        outputs = list(outputs) if isinstance(outputs, Iterator) else outputs
        if max(lengths) > 1:
            self.read_outputs(outputs, sum(lengths))  # for its errors, which count rows
            outputs = cut(outputs, lengths)
        return self.split(outputs, examples)

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Bytes of the values; constant in their number."""
        return num_bytes(batch)


def join(
    frames: Sequence[Any],
    names: Sequence[str] | None,
    *,
    source: str,
    array_handler: str | None = None,
) -> Any:
    """The rows of all frames, in order, in one frame; each frame keeps its index there.

    Args:
        frames: of one row or more each, and of the same columns in any order.
        names: the columns to keep, in their order; the first frame's where None.
        source: who takes the frames, for the errors.
        array_handler: who takes arrays instead, for the errors.

    Raises:
        ExampleError: an example that is no frame, or one without rows.
        FeatureError: a frame lacks a column.
    """
    pandas = importlib.import_module("pandas")
    _check_frames(frames, pandas.DataFrame, source, array_handler)
    first = frames[0].columns
    unlike = [i for i, frame in enumerate(frames) if not frame.columns.equals(first)]
    for position in (0, *unlike):
        frame, columns = frames[position], frames[position].columns
        if names is not None:
            _check_columns(frame, names, f"example {position} lacks", "the model was trained on")
        elif position:
            _check_columns(frame, list(first), f"example {position} lacks", "example 0 has")
            _check_columns(frames[0], list(columns), "example 0 lacks", f"example {position} has")
    joined = pandas.concat(list(frames)) if unlike else concatenate(frames)
    if names is None or list(joined.columns) == list(names):
        return joined
    return joined[list(names)]


def _check_frames(
    frames: Sequence[Any], kind: type[Any], source: str, array_handler: str | None
) -> None:
    if set(map(type, frames)) == {kind} and all(map(len, frames)):
        return
    for position, frame in enumerate(frames):
        if not isinstance(frame, kind):
            others = f", {array_handler} arrays, texts and sequences" if array_handler else ""
            raise ExampleError(
                f"example {position} is a {type(frame).__name__}: {source} takes DataFrames{others}"
            )
        if not len(frame):
            raise ExampleError(f"example {position} is a frame without rows")


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


def num_bytes(frames: Sequence[Any]) -> int:
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


def _check_columns(frame: Any, names: Sequence[Any], who: str, origin: str) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise FeatureError(
            f"{who} {'columns' if len(missing) > 1 else 'column'} "
            f"{listed(missing)}, which {origin}; it has "
            f"{listed(frame.columns) or 'none'}"
        )

"""The rows of a table as the examples that Beam's handlers take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from runinference.columns import matrix

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["frames", "vectors"]


def vectors(table: pa.Table) -> Sequence[np.ndarray[Any, Any]]:
    """The numbers of each row: ``[columns]``, or what a single column of vectors holds."""
    return list(matrix(table))


def frames(table: pa.Table) -> Sequence[pd.DataFrame]:
    """A frame of each row."""
    frame = table.to_pandas(ignore_metadata=True)
    return [frame.iloc[row : row + 1] for row in range(len(frame))]

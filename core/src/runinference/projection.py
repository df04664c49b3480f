"""Tell which columns of tables a RunTableInference uses, so that a reader leaves out the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from runinference.columns import numeric_columns
from runinference.hooks import Observers
from runinference.loader import process_loader
from runinference.versions import ModelVersion

__all__ = ["NeededColumns"]


@dataclasses.dataclass(frozen=True)
class NeededColumns:
    """What a step of one pipeline reads of its tables; to be asked in a worker.

    Attributes:
        version: the step's model, which may name its features.
        features: the columns that the model sees, where they were told.
        keep: the columns that stay, where not all do.
    """

    version: ModelVersion
    features: tuple[str, ...] | None
    keep: tuple[str, ...] | None

    def among(self, schema: pa.Schema) -> list[str] | None:
        """Those that are needed of a table's columns, in their order; None for all of them.

        All too where one is missing, so that the error can name what there is. The model is asked
        where nobody else tells: the one that this process has, or else it is loaded.
        """
        if self.keep is None:
            return None
        features: Sequence[str] | None = self.features
        if features is None:
            with process_loader.lease(self.version, Observers()) as model:
                features = model.feature_names()
        if features is None:
            features = [name for name in numeric_columns(schema) if name not in self.keep]
        needed = {*features, *self.keep}
        if not features or not needed.issubset(schema.names):
            return None
        return [name for name in schema.names if name in needed]

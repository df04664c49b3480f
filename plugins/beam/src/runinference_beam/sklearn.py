"""Beam's handlers of scikit-learn models, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference import sklearn_inference as beams

from runinference_beam.by_name import ByName
from runinference_beam.tables import frames, vectors

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SklearnModelHandlerNumpy", "SklearnModelHandlerPandas"]


class SklearnModelHandlerNumpy(ByName, beams.SklearnModelHandlerNumpy):
    """Beam's ``SklearnModelHandlerNumpy``."""

    def feature_names(self, model: Any) -> Sequence[str] | None:
        """The columns that the model was trained on, where it knows them."""
        return getattr(model, "feature_names_in_", None)

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[np.ndarray[Any, Any]]:
        """The numbers of each row."""
        return vectors(table)


class SklearnModelHandlerPandas(ByName, beams.SklearnModelHandlerPandas):
    """Beam's ``SklearnModelHandlerPandas``."""

    def feature_names(self, model: Any) -> Sequence[str] | None:
        """The columns that the model was trained on, where it knows them."""
        return getattr(model, "feature_names_in_", None)

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[pd.DataFrame]:
        """A frame of each row."""
        return frames(table)

"""Beam's handlers of XGBoost models, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference import xgboost_inference as beams

from runinference_beam.by_name import ByName
from runinference_beam.tables import frames, vectors

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse

__all__ = [
    "XGBoostModelHandlerDatatable",
    "XGBoostModelHandlerNumpy",
    "XGBoostModelHandlerPandas",
    "XGBoostModelHandlerSciPy",
]


class XGBoostModelHandlerDatatable(ByName, beams.XGBoostModelHandlerDatatable):
    """Beam's ``XGBoostModelHandlerDatatable``."""


class XGBoostModelHandlerNumpy(ByName, beams.XGBoostModelHandlerNumpy):
    """Beam's ``XGBoostModelHandlerNumpy``, whose examples are matrices."""

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[np.ndarray[Any, Any]]:
        """A matrix of each row: ``[1, columns]``."""
        return [row[np.newaxis] for row in vectors(table)]


class XGBoostModelHandlerPandas(ByName, beams.XGBoostModelHandlerPandas):
    """Beam's ``XGBoostModelHandlerPandas``."""

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[pd.DataFrame]:
        """A frame of each row."""
        return frames(table)


class XGBoostModelHandlerSciPy(ByName, beams.XGBoostModelHandlerSciPy):
    """Beam's ``XGBoostModelHandlerSciPy``."""

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[scipy.sparse.csr_matrix]:
        """A sparse matrix of each row: ``[1, columns]``."""
        from scipy.sparse import csr_matrix  # Beam's module has imported it

        return [csr_matrix(row) for row in vectors(table)]

"""Beam's handler of ONNX models, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference import onnx_inference as beams

from runinference.columns import matrix
from runinference_beam.by_name import ByName

__all__ = ["OnnxModelHandlerNumpy"]

_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class OnnxModelHandlerNumpy(ByName, beams.OnnxModelHandlerNumpy):
    """Beam's ``OnnxModelHandlerNumpy``."""

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[np.ndarray[Any, Any]]:
        """The numbers of each row, in the type of the model's input."""
        return list(matrix(table, _DTYPES.get(model.get_inputs()[0].type)))

"""Beam's handler of TensorRT engines, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference import tensorrt_inference as beams

from runinference_beam.by_name import ByName
from runinference_beam.tables import vectors

__all__ = ["TensorRTEngineHandlerNumPy"]


class TensorRTEngineHandlerNumPy(ByName, beams.TensorRTEngineHandlerNumPy):
    """Beam's ``TensorRTEngineHandlerNumPy``."""

    options_in_kwargs = ("engine_path",)

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[np.ndarray[Any, Any]]:
        """The numbers of each row."""
        return vectors(table)

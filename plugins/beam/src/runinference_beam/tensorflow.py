"""Beam's handlers of TensorFlow models, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference import tensorflow_inference as beams

from runinference_beam.by_name import ByName
from runinference_beam.tables import vectors

__all__ = ["TFModelHandlerNumpy", "TFModelHandlerTensor"]


class TFModelHandlerNumpy(ByName, beams.TFModelHandlerNumpy):
    """Beam's ``TFModelHandlerNumpy``."""

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[np.ndarray[Any, Any]]:
        """The numbers of each row."""
        return vectors(table)


class TFModelHandlerTensor(ByName, beams.TFModelHandlerTensor):
    """Beam's ``TFModelHandlerTensor``."""

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[Any]:
        """A tensor of the numbers of each row."""
        return [beams.tf.convert_to_tensor(row) for row in vectors(table)]

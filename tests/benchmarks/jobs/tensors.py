"""A PyTorch model of three tensors by name: vectors, categories, and lists of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from benchmarks.job import Job, Predictor

__all__ = ["JOBS", "Tensors"]


class Tensors(Job):
    """float32 ``[32]``, an int64, and int64 ``[8]`` per row."""

    handler: ClassVar[str] = "torch-keyed"

    def table(self, rng: np.random.Generator, first: int, rows: int) -> pa.Table:
        """Columns of the model's argument names."""
        dense = rng.standard_normal(rows * 32, dtype=np.float32)
        words = rng.integers(0, 5000, rows * 8)
        return pa.table(
            {
                "id": np.arange(first, first + rows),
                "dense": pa.FixedSizeListArray.from_arrays(pa.array(dense), 32),
                "category": rng.integers(0, 1000, rows),
                "words": pa.FixedSizeListArray.from_arrays(pa.array(words), 8),
            }
        )

    def write_model(self, folder: Path) -> None:
        """A state dict."""
        from benchmarks import models

        models.save(models.ThreeTensors, folder / "model.pt")

    def predictor(self, folder: Path) -> Predictor:
        """The model of the columns."""
        import torch

        from benchmarks import models

        model = models.load(models.ThreeTensors, folder / "model.pt", self.threads)

        @torch.inference_mode()
        def predict(table: pa.Table) -> pa.Array:
            return pa.array(model(**_tensors(table)).numpy())

        return predict

    def options(self, folder: Path) -> dict[str, Any]:
        """The model's file and class."""
        path = str(folder / "model.pt")
        return {"state_dict_path": path, "model_class": "benchmarks.models:ThreeTensors"}

    def examples(self, table: pa.Table) -> Sequence[Any]:
        """Dicts of three tensors, each in memory of its own."""
        columns = _tensors(table)
        rows = zip(*columns.values(), strict=True)
        return [{name: one.clone() for name, one in zip(columns, row, strict=True)} for row in rows]

    def beam_handler(self, folder: Path) -> Any:
        """Which takes the class itself."""
        from apache_beam.ml.inference.pytorch_inference import PytorchModelHandlerKeyedTensor

        from benchmarks import models

        path = str(folder / "model.pt")
        return PytorchModelHandlerKeyedTensor(path, models.ThreeTensors, {})


def _tensors(table: pa.Table) -> dict[str, Any]:
    import torch.utils.dlpack

    def tensor(name: str) -> torch.Tensor:
        column = table.column(name).combine_chunks()
        if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):  # Spark's
            values = torch.utils.dlpack.from_dlpack(column.flatten())
            return values.view(len(column), -1)
        return torch.utils.dlpack.from_dlpack(column)

    return {name: tensor(name) for name in ("dense", "category", "words")}


JOBS = (
    Tensors(
        name="tensors",
        title="torch, dict of three tensors, 200 k",
        rows=200_000,
        quick_rows=4_000,
    ),
)

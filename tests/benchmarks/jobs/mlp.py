"""A PyTorch network on 64 columns of float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from benchmarks.job import Job, Predictor
from benchmarks.jobs.logistic import matrix

__all__ = ["JOBS", "Mlp"]

_WIDTH = 64


class Mlp(Job):
    """Three layers, one score per row."""

    handler: ClassVar[str] = "torch-tensor"

    def table(self, rng: np.random.Generator, first: int, rows: int) -> pa.Table:
        """Normal numbers."""
        values = rng.standard_normal((_WIDTH, rows), dtype=np.float32)
        columns = {f"f{number}": column for number, column in enumerate(values)}
        return pa.table({"id": np.arange(first, first + rows), **columns})

    def write_model(self, folder: Path) -> None:
        """A state dict."""
        from benchmarks import models

        models.save(models.Mlp, folder / "model.pt")

    def predictor(self, folder: Path) -> Predictor:
        """The model of the matrix."""
        import torch

        from benchmarks import models

        model = models.load(models.Mlp, folder / "model.pt", self.threads)

        @torch.inference_mode()
        def predict(table: pa.Table) -> pa.Array:
            return pa.array(model(torch.from_numpy(matrix(table))).numpy())

        return predict

    def options(self, folder: Path) -> dict[str, Any]:
        """The model's file and class."""
        path = str(folder / "model.pt")
        return {"state_dict_path": path, "model_class": "benchmarks.models:Mlp"}

    def examples(self, table: pa.Table) -> Sequence[Any]:
        """Tensors of 64 numbers."""
        import torch

        # each in memory of its own, as examples of a pipeline are
        return [row.clone() for row in torch.from_numpy(matrix(table))]

    def beam_handler(self, folder: Path) -> Any:
        """Which takes the class itself."""
        from apache_beam.ml.inference.pytorch_inference import PytorchModelHandlerTensor

        from benchmarks import models

        return PytorchModelHandlerTensor(str(folder / "model.pt"), models.Mlp, {})


JOBS = (Mlp(name="mlp", title="torch MLP, 500 k x 64", rows=500_000, quick_rows=5_000),)

"""Beam's handlers of PyTorch models, by name."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import torch
from apache_beam.ml.inference import pytorch_inference as beams

from runinference.columns import array_of, matrix
from runinference_beam.by_name import ByName

__all__ = ["PytorchModelHandlerKeyedTensor", "PytorchModelHandlerTensor"]


class PytorchModelHandlerTensor(ByName, beams.PytorchModelHandlerTensor):
    """Beam's ``PytorchModelHandlerTensor``."""

    def examples_from(self, table: pa.Table, model: torch.nn.Module) -> Sequence[torch.Tensor]:
        """The numbers of each row; fractions as the model's parameters have them."""
        return _rows(torch.tensor(matrix(table)), model)


class PytorchModelHandlerKeyedTensor(ByName, beams.PytorchModelHandlerKeyedTensor):
    """Beam's ``PytorchModelHandlerKeyedTensor``."""

    def examples_from(
        self, table: pa.Table, model: torch.nn.Module
    ) -> Sequence[dict[str, torch.Tensor]]:
        """A tensor per column for each row; fractions as the model's parameters have them."""
        names = table.column_names
        columns = [
            _rows(torch.tensor(array_of(column, name)), model)
            for name, column in zip(names, table.columns, strict=True)
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _rows(values: torch.Tensor, model: torch.nn.Module) -> Sequence[torch.Tensor]:
    kinds = [p.dtype for p in model.parameters() if p.is_floating_point()]
    if values.is_floating_point() and kinds:
        values = values.to(kinds[0])
    return values.unbind(0)

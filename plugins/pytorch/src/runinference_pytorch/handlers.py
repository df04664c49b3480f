"""The two handlers: examples that are tensors, and examples that are tensors by name."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runinference.errors import FeatureError
from runinference_pytorch import options
from runinference_pytorch.base import PytorchModelHandler
from runinference_pytorch.padding import Padding

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import nn

    from runinference_pytorch.batches import TensorBatch
    from runinference_pytorch.collating import Columns

__all__ = ["PytorchModelHandlerKeyedTensor", "PytorchModelHandlerTensor"]


class PytorchModelHandlerTensor(PytorchModelHandler):
    """Examples are tensors; the model is called with one tensor, ``[examples, ...]``.

    An example may also be an array, a number or lists of numbers, of the dtype that
    ``torch.as_tensor`` gives them. Of a table, numeric columns become a matrix ``[rows, columns]``
    of the dtype of the model's weights; a single column of lists becomes ``[rows, width]``, whose
    whole numbers stay whole.
    """

    def prepare(self, examples: Sequence[Any], model: nn.Module) -> Sequence[Any]:
        """Examples as tensors."""
        if self.padding is None:  # nobody asks how long they are before they are collated
            return examples
        from runinference_pytorch.collating import as_tensors

        return as_tensors(examples)

    def collate(self, examples: Sequence[Any], model: nn.Module) -> Any:
        """One tensor on the model's device, with what padding adds to it.

        Raises:
            ExampleError: shapes or dtypes that make no batch, with two examples that differ.
        """
        return self._collate(examples, model)

    def examples_from(self, table: pa.Table, model: nn.Module) -> Sequence[Any]:
        """A tensor per row: a row of the matrix, or the list of a single column of lists."""
        from runinference_pytorch import table_tensors

        if _is_one_list(table):
            dtype = table_tensors.model_dtype(model)
            return table_tensors.column_rows(table, table.column_names[0], dtype)
        tensors = self._tensors_of(table, model).tensors
        assert not isinstance(tensors, dict)
        return list(tensors.unbind(0))

    def _columns(self, examples: Sequence[Any]) -> Columns:
        from runinference_pytorch.collating import as_tensors

        return {"": as_tensors(examples)}

    def _tensors_of(self, table: pa.Table, model: nn.Module) -> TensorBatch:
        from runinference_pytorch import table_tensors
        from runinference_pytorch.batches import TensorBatch

        weights = table_tensors.model_dtype(model)
        told = options.torch_dtypes(self.dtype, [""]).get("")
        if _is_one_list(table):
            tensor = table_tensors.column_tensor(table, table.column_names[0], weights)
            tensor = tensor.to(told or tensor.dtype)
            return TensorBatch(tensor, is_borrowed=table_tensors.is_borrowed(tensor, table))
        lists = [field.name for field in table.schema if table_tensors.is_list(field.type)]
        if lists:
            raise FeatureError(
                f"torch-tensor takes numeric columns, or one column of lists, but {lists[0]!r} is "
                f"a column of lists beside {table.num_columns - 1} others: name the features, or "
                "use torch-keyed, which gives the model a tensor per column"
            )
        return TensorBatch(table_tensors.matrix_tensor(table, told or weights))


class PytorchModelHandlerKeyedTensor(PytorchModelHandler):
    """Examples are dicts of tensors by name, which are the model's keyword arguments.

    Of a table, each column is a tensor of its name: ``[rows]`` for numbers, ``[rows, width]`` for
    lists. Floating-point numbers get the dtype of the model's weights; whole numbers stay whole.
    """

    _is_keyed = True

    def prepare(self, examples: Sequence[Any], model: nn.Module) -> Sequence[Any]:
        """Examples as dicts of tensors."""
        if self.padding is None:
            return examples
        from runinference_pytorch.collating import as_named

        return [as_named(example, i) for i, example in enumerate(examples)]

    def collate(self, examples: Sequence[Any], model: nn.Module) -> Any:
        """A tensor per name on the model's device, with the masks that padding makes.

        Raises:
            ExampleError: names, shapes or dtypes that make no batch, with two examples that differ.
        """
        return self._collate(examples, model)

    def examples_from(self, table: pa.Table, model: nn.Module) -> Sequence[Any]:
        """A dict of tensors per row."""
        from runinference_pytorch import table_tensors

        names, weights = table.column_names, table_tensors.model_dtype(model)
        columns = [table_tensors.column_rows(table, name, weights) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def feature_names(self, model: nn.Module) -> Sequence[str] | None:
        """The arguments that the model cannot do without, but for masks that padding makes."""
        if self.inference_fn is not None:
            return None
        function = model.forward if self.method is None else getattr(model, self.method)
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # a program does not tell
            return None
        padding = self.padding or {}
        every = [padding] if isinstance(padding, Padding) else padding.values()
        made = {one.mask for one in every}
        return [
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and parameter.name not in made
        ] or None

    def _columns(self, examples: Sequence[Any]) -> Columns:
        from runinference_pytorch.collating import columns_of

        return columns_of(examples)

    def _tensors_of(self, table: pa.Table, model: nn.Module) -> TensorBatch:
        from runinference_pytorch import table_tensors
        from runinference_pytorch.batches import TensorBatch

        weights = table_tensors.model_dtype(model)
        told = options.torch_dtypes(self.dtype, table.column_names)
        tensors = {}
        for name in table.column_names:
            tensor = table_tensors.column_tensor(table, name, weights)
            tensors[name] = tensor.to(told.get(name, tensor.dtype))
        is_borrowed = any(table_tensors.is_borrowed(t, table) for t in tensors.values())
        return TensorBatch(tensors, is_borrowed=is_borrowed)


def _is_one_list(table: pa.Table) -> bool:
    from runinference_pytorch.table_tensors import is_list

    return table.num_columns == 1 and is_list(table.schema.field(0).type)

"""Around a call of the model: errors that say what it was given, answers that stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from runinference.errors import ExampleError
from runinference_pytorch.batches import TensorBatch
from runinference_pytorch.table_tensors import model_dtype

__all__ = ["explained", "owned"]

_ABOUT_SHAPE = re.compile(
    r"shape|size of tensor|sizes|scalar type|dtype|channels|dimension|normalized_|type \(|but got",
    re.IGNORECASE,
)


@contextmanager
def explained(batch: TensorBatch, model: nn.Module) -> Iterator[None]:
    """Turn torch's errors about shapes and dtypes into one that also names the batch's.

    Raises:
        ExampleError: for such an error; others, of memory and of a device, stay as they are.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error).strip().partition("\n")[0]
        if type(error) is not RuntimeError or not _ABOUT_SHAPE.search(message):
            raise
        if re.search(r"memory|CUDA error", message):
            raise
        given = ", ".join(
            f"{name and name + ' '}{_dtype(tensor.dtype)} {list(tensor.shape)}"
            for name, tensor in batch.named().items()
        )
        wanted = model_dtype(model)
        others = [
            tensor.dtype
            for tensor in batch.named().values()
            if tensor.is_floating_point() and tensor.dtype is not wanted
        ]
        hint = ""
        if others or re.search(r"type|dtype", message):
            hint = f". Its weights are {_dtype(wanted)}: convert the examples, or say dtype="
            hint += repr(_dtype(wanted))
        raise ExampleError(
            f"{type(model).__qualname__} cannot take a batch of {given}: {message}{hint}"
        ) from error


def owned(value: Any) -> Any:
    """A prediction on the CPU, in memory of its own, whatever structure its tensors are in."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {name: owned(one) for name, one in value.items()}
    if isinstance(value, list):
        return [owned(one) for one in value]
    if isinstance(value, tuple):
        return getattr(type(value), "_make", tuple)(owned(one) for one in value)
    return value


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

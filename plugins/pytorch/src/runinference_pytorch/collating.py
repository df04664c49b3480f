"""Make one batch of examples: tensors of one shape side by side, or padded to the largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from runinference.errors import ExampleError
from runinference_pytorch.batches import TensorBatch
from runinference_pytorch.padding import Padding, paddings_of

__all__ = ["Columns", "as_named", "as_tensors", "columns_of", "pad_batch", "stack_batch"]

Columns = Mapping[str, list[torch.Tensor]]

_WAYS_ON = (
    "padding=Padding(...) fills them up to the largest, and BatchConfig(max_size=1) as the "
    "transform's batching= predicts one example at a time"
)


def as_tensor(value: Any, position: int, name: str = "") -> torch.Tensor:
    """A tensor of anything that has numbers; shares memory with it where that is possible.

    Args:
        value: a tensor, an array, a number, or nested lists of numbers.
        position: of the example in its batch, for the error.
        name: of the tensor in the example, for the error.

    Raises:
        ExampleError: something else.
    """
    if isinstance(value, torch.Tensor):
        return value
    try:
        if isinstance(value, np.ndarray) and (
            not value.flags.writeable or any(stride < 0 for stride in value.strides)
        ):
            value = np.array(value, order="C")  # torch warns of the one and refuses the other
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = f"array of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
        where = f"tensor {name!r} of example {position}" if name else f"example {position}"
        raise ExampleError(
            f"{where} is no tensor, nor numbers to make one of, but {kind}: {value!r:.80} ({error})"
        ) from error


def as_tensors(examples: Sequence[Any]) -> list[torch.Tensor]:
    """A tensor of each example, as :func:`as_tensor` makes one."""
    if set(map(type, examples)) == {torch.Tensor}:
        return list(examples)
    return [as_tensor(example, position) for position, example in enumerate(examples)]


def as_named(example: Any, position: int) -> dict[str, torch.Tensor]:
    """A dict of tensors of a dict of anything that has numbers.

    Raises:
        ExampleError: not a dict with names, or a value that is no tensor.
    """
    if not isinstance(example, Mapping):
        raise ExampleError(
            f"an example of torch-keyed is a dict of tensors by name, but example {position} is a "
            f"{type(example).__name__}; torch-tensor takes tensors"
        )
    if all(isinstance(value, torch.Tensor) for value in example.values()):
        return example  # type: ignore[return-value]  # a Mapping will do
    return {name: as_tensor(value, position, name) for name, value in example.items()}


def columns_of(examples: Sequence[Mapping[str, Any]]) -> Columns:
    """The tensors of examples, by name and then example by example.

    Raises:
        ExampleError: not dicts, not tensors, or examples of different names.
    """
    columns = _columns_of_tensors(examples)
    if columns is not None:
        return columns
    named = [as_named(example, position) for position, example in enumerate(examples)]
    names = named[0].keys()
    for position, example in enumerate(named):
        if example.keys() != names:
            differ = sorted(names ^ example.keys())
            raise ExampleError(
                f"the examples of a batch have different tensors: example 0 has {sorted(names)}, "
                f"example {position} has {sorted(example)}; give every example "
                f"{', '.join(map(repr, differ))}, or none"
            )
    return {name: [example[name] for example in named] for name in names}


def _columns_of_tensors(examples: Sequence[Any]) -> Columns | None:
    """The same for dicts of tensors, with few looks at each; None for anything else."""
    if set(map(type, examples)) != {dict}:
        return None
    names = examples[0].keys()
    if not all(map(names.__eq__, map(dict.keys, examples))):
        return None
    columns = {name: [example[name] for example in examples] for name in names}
    is_tensors = all(set(map(type, column)) == {torch.Tensor} for column in columns.values())
    return columns if is_tensors else None


def stack_batch(columns: Columns, dtypes: Mapping[str, torch.dtype]) -> TensorBatch:
    """Examples of one shape, side by side.

    Args:
        columns: tensors by name, one per example; a single one is called "".
        dtypes: what to convert tensors to, by name; the others keep theirs.

    Raises:
        ExampleError: different shapes or dtypes, with two examples that differ.
    """
    return _batch({name: _stack(column, name, dtypes) for name, column in columns.items()})


def pad_batch(
    columns: Columns,
    padding: Padding | Mapping[str, Padding],
    dtypes: Mapping[str, torch.dtype],
) -> TensorBatch:
    """Examples of different sizes, filled up to the largest.

    Args:
        columns: tensors by name, one per example; a single one is called "".
        padding: of all tensors, or of those that it names.
        dtypes: what to convert tensors to, by name; the others keep theirs.

    Raises:
        ExampleError: different numbers of axes or dtypes, with two examples that differ.
    """
    paddings = paddings_of(columns, padding)
    shapes = {name: [tuple(tensor.shape) for tensor in columns[name]] for name in paddings}
    tensors, masks = {}, {}
    for name, column in columns.items():
        if name in paddings:
            tensors[name] = _pad(column, shapes[name], paddings[name], name, dtypes)
        else:
            tensors[name] = _stack(column, name, dtypes)
    masked: dict[str, list[int]] = {}
    for name, one in paddings.items():
        if one.mask is None or one.mask in columns:
            continue
        lengths = [shape[0] for shape in shapes[name]]
        if masked.setdefault(one.mask, lengths) != lengths:
            raise ExampleError(
                f"the mask {one.mask!r} is to follow tensors of different lengths, {name!r} among "
                f"them: say which one, padding={{'NAME': Padding(mask={one.mask!r})}}"
            )
        masks[one.mask] = _mask(lengths, tensors[name])
    if "" not in tensors:  # named tensors and their masks are arguments of the same kind
        tensors, masks = tensors | masks, {}
    return _batch(tensors, masks=masks, shapes=shapes, paddings=paddings)


def _batch(tensors: dict[str, torch.Tensor], **fields: Any) -> TensorBatch:
    return TensorBatch(tensors.get("", tensors), **fields)


def _stack(
    tensors: list[torch.Tensor], name: str, dtypes: Mapping[str, torch.dtype]
) -> torch.Tensor:
    dtype = dtypes.get(name)
    tensors = _same_dtype(tensors, name, dtype)
    try:
        with torch.no_grad():
            batch = torch.stack(tensors)
    except RuntimeError:
        shapes = [tuple(tensor.shape) for tensor in tensors]
        for position, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ExampleError(
                    f"{_called(name)} of examples 0 and {position} of a batch have the shapes "
                    f"{shapes[0]} and {shape}, and a batch needs one: {_WAYS_ON}"
                ) from None
        raise
    return batch if dtype is None else batch.to(dtype)


def _same_dtype(
    tensors: list[torch.Tensor], name: str, dtype: torch.dtype | None
) -> list[torch.Tensor]:
    """Tensors of one dtype: torch.stack would promote some, depending on what shares a batch."""
    kinds = [tensor.dtype for tensor in tensors]
    if len(set(kinds)) == 1:
        return tensors
    if dtype is not None:
        return [tensor.to(dtype) for tensor in tensors]
    position = next(i for i, kind in enumerate(kinds) if kind != kinds[0])
    raise ExampleError(
        f"{_called(name)} of examples 0 and {position} of a batch are {kinds[0]} and "
        f"{kinds[position]}: convert them, or say dtype={str(kinds[0]).removeprefix('torch.')!r}"
    )


def _pad(
    tensors: list[torch.Tensor],
    shapes: list[tuple[int, ...]],
    padding: Padding,
    name: str,
    dtypes: Mapping[str, torch.dtype],
) -> torch.Tensor:
    dtype = dtypes.get(name)
    tensors = _same_dtype(tensors, name, dtype)
    for position, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]) or not shape:
            raise ExampleError(
                f"{_called(name)} of examples 0 and {position} of a batch have the shapes "
                f"{shapes[0]} and {shape}: padding fills up axes, and adds none"
            )
    kind = tensors[0].dtype
    value: float = padding.value
    if not (kind.is_floating_point or kind.is_complex):
        if value != int(value):
            raise ExampleError(f"padding={padding!r}: {_called(name)} are {kind}, not fractions")
        value = int(value)
    width = padding.padded(max(shape[0] for shape in shapes))
    with torch.no_grad():
        if all(shape[1:] == shapes[0][1:] for shape in shapes):
            batch = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
            missing = width - batch.shape[1]
            inner = (0, 0) * (batch.ndim - 2)
            return functional.pad(batch, (*inner, 0, missing), value=value) if missing else batch
        largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
        batch = tensors[0].new_full((len(tensors), width, *largest[1:]), value)
        for row, tensor, shape in zip(batch, tensors, shapes, strict=True):
            row[tuple(map(slice, shape))] = tensor
        return batch


def _mask(lengths: list[int], padded: torch.Tensor) -> torch.Tensor:
    """1 at real positions and 0 at filled ones, int64 [examples, positions]."""
    positions = torch.arange(padded.shape[1], device=padded.device)
    return (positions < torch.tensor(lengths, device=padded.device)[:, None]).long()


def _called(name: str) -> str:
    return f"the tensors {name!r}" if name else "the tensors"

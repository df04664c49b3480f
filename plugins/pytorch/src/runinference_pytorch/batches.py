"""What a model is called with: tensors, and what padding knows of the examples in them."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional

from runinference_pytorch.padding import Padding

__all__ = ["TensorBatch"]

Tensors = torch.Tensor | dict[str, torch.Tensor]


@dataclasses.dataclass
class TensorBatch:
    """What a model is called with, on its device.

    Attributes:
        tensors: one tensor, or tensors by name; the examples along the first axis.
        masks: arguments of the model that padding made, besides a single tensor.
        shapes: of the padded tensors (the single one is called ""), each example's own shape.
        paddings: of the same tensors.
        is_borrowed: whether the memory belongs to a table, so that nobody may write to it.
    """

    tensors: Tensors
    masks: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)
    shapes: dict[str, list[tuple[int, ...]]] = dataclasses.field(default_factory=dict)
    paddings: dict[str, Padding] = dataclasses.field(default_factory=dict)
    is_borrowed: bool = False

    def named(self) -> dict[str, torch.Tensor]:
        """The tensors by name; a single one is called ""."""
        return self.tensors if isinstance(self.tensors, dict) else {"": self.tensors}

    def to(self, device: torch.device) -> TensorBatch:
        """The batch on a device; itself where it is there."""
        before = self.named()
        moved = {name: tensor.to(device) for name, tensor in before.items()}
        if all(moved[name] is before[name] for name in before):
            return self
        return dataclasses.replace(
            self,
            tensors=moved if isinstance(self.tensors, dict) else moved[""],
            masks={name: mask.to(device) for name, mask in self.masks.items()},
            is_borrowed=False,
        )

    def owned(self) -> TensorBatch:
        """The batch in memory of its own."""
        if not self.is_borrowed:
            return self
        copied = {name: tensor.clone() for name, tensor in self.named().items()}
        tensors = copied if isinstance(self.tensors, dict) else copied[""]
        return dataclasses.replace(self, tensors=tensors, is_borrowed=False)

    def versions(self) -> list[int]:
        """How often each tensor was written to, as torch counts it."""
        return [t._version for t in self.named().values() if not t.is_inference()]

    def alone(self, position: int, change: int = 0) -> TensorBatch:
        """A batch of the one example at a position, as it was before it was padded.

        Args:
            position: of the example.
            change: how many positions its sequences have less or, filled as in a batch, more.
        """
        sizes = {name: shapes[position] for name, shapes in self.shapes.items()}
        made = {one.mask: sizes[name][0] for name, one in self.paddings.items() if one.mask}
        taken = {}
        for name, tensor in self.named().items():
            row = tensor[position : position + 1]
            if name in sizes:
                for axis, size in enumerate(sizes[name][1:], start=2):
                    row = row.narrow(axis, 0, size)
                row = _resized(row, sizes[name][0], change, self.paddings[name].value)
            elif name in made:
                row = _resized(row, made[name], change, 0)
            taken[name] = row.contiguous()
        return TensorBatch(
            taken if isinstance(self.tensors, dict) else taken[""],
            {
                name: _resized(mask[position : position + 1], made[name], change, 0).contiguous()
                for name, mask in self.masks.items()
            },
            {name: [(size[0] + change, *size[1:])] for name, size in sizes.items()},
        )


def _resized(row: torch.Tensor, size: int, change: int, value: float) -> torch.Tensor:
    """The first positions along the second axis, and filled ones where it grows."""
    row = row.narrow(1, 0, size + min(change, 0))
    inner = (0, 0) * (row.ndim - 2)
    return functional.pad(row, (*inner, 0, change), value=value) if change > 0 else row

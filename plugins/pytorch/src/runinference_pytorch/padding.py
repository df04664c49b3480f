"""What to do with examples of different sizes: which tensors are filled up, with what, how far."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from runinference.errors import ConfigurationError, ExampleError

__all__ = ["Padding", "check_padding", "length_of", "paddings_of"]


@dataclasses.dataclass(frozen=True)
class Padding:
    """Fill up the tensors of a batch to the size of its largest.

    Every axis of an example is filled up at its end; only the first one, the sequence, is rounded
    up, gets a mask, and is what outputs are trimmed to.

    Args:
        value: what fills.
        mask: the name of the model's argument that tells real positions (1) from filled ones (0),
            ``int64 [examples, positions]``; made unless the examples bring it.
        multiple_of: the padded length of the sequence is rounded up to a multiple of this.
        trim: whether outputs with one entry per position are cut to each example's own length:
            True for each that is as wide as the padded batch, False for none, the paths of those
            that are; where None it is found out once per output of a loaded model, by predicting
            an example of its first batch alone, a position shorter where all have one length.

    Raises:
        ConfigurationError: a field out of range.
    """

    value: float = 0
    mask: str | None = None
    multiple_of: int = 1
    trim: bool | Sequence[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise ConfigurationError(f"Padding(value={self.value!r}): a number is needed")
        if isinstance(self.multiple_of, bool) or not isinstance(self.multiple_of, int):
            raise ConfigurationError(f"Padding(multiple_of={self.multiple_of!r}): not whole")
        if self.multiple_of < 1:
            raise ConfigurationError(f"Padding(multiple_of={self.multiple_of!r}): at least 1")
        if self.mask is not None and not str(self.mask).isidentifier():
            raise ConfigurationError(
                f"Padding(mask={self.mask!r}): the name of an argument of the model is needed"
            )
        if isinstance(self.trim, str):
            raise ConfigurationError(f"Padding(trim={self.trim!r}): write trim=[{self.trim!r}]")
        if isinstance(self.trim, Sequence):
            object.__setattr__(self, "trim", tuple(self.trim))

    def padded(self, longest_of_batch: int) -> int:
        """The length that the sequences of a batch are filled up to."""
        return -(-longest_of_batch // self.multiple_of) * self.multiple_of


def check_padding(padding: Any, *, is_keyed: bool) -> None:
    """Refuse what is neither a :class:`Padding` nor, for examples with names, one per name.

    Raises:
        ConfigurationError: something else.
    """
    if padding is None or isinstance(padding, Padding):
        return
    if isinstance(padding, Mapping) and not is_keyed:
        raise ConfigurationError(
            "padding={...} per tensor name is for examples with names (torch-keyed): "
            "write padding=Padding(...)"
        )
    if not isinstance(padding, Mapping):
        wanted = "Padding(...) or {'name': Padding(...)}" if is_keyed else "Padding(...)"
        raise ConfigurationError(f"padding={padding!r:.100}: write padding={wanted}")
    for name, one in padding.items():
        if not isinstance(one, Padding):
            raise ConfigurationError(f"padding of {name!r} is {one!r:.100}: write Padding(...)")
    if not padding:
        raise ConfigurationError("padding={} names no tensor: name one, or leave padding out")


def paddings_of(
    columns: Mapping[str, Sequence[Any]], padding: Padding | Mapping[str, Padding]
) -> dict[str, Padding]:
    """How to fill up the tensors of a batch, by name; those that are not padded are left out.

    A mask that the examples bring is filled with 0, whatever fills the tensor that it masks.

    Raises:
        ExampleError: the examples lack a tensor that the padding names, or it has no axis.
    """
    if isinstance(padding, Padding):
        chosen = {name: padding for name, column in columns.items() if column[0].ndim}
        if not chosen:
            raise ExampleError("padding=Padding(...) fills up axes, but the examples are scalars")
    else:
        chosen = dict(padding)
        for name in chosen:
            if name not in columns:
                raise ExampleError(
                    f"padding names the tensor {name!r}, but an example has "
                    f"{', '.join(map(repr, columns))}"
                )
            if not columns[name][0].ndim:
                raise ExampleError(f"padding names the tensor {name!r}, which is a scalar")
    for one in list(chosen.values()):
        is_named = isinstance(padding, Mapping) and one.mask in padding
        if one.mask is not None and one.mask in columns and not is_named:
            chosen[one.mask] = dataclasses.replace(one, value=0, mask=None, trim=False)
    return chosen


def length_of(example: Any, padding: Padding | Mapping[str, Padding]) -> int:
    """The first axis of an example; of its longest padded tensor where it has several."""
    if not isinstance(example, Mapping):
        return _first_axis(example)
    names = padding if isinstance(padding, Mapping) else example
    return max((_first_axis(example[name]) for name in names if name in example), default=1)


def _first_axis(value: Any) -> int:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 1
    return len(value) if isinstance(value, Sequence) else 1

"""What a model says of its inputs, and arrays that fit them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from runinference.errors import ModelLoadError
from runinference.files import ModelFile

__all__ = ["ModelInput", "read_inputs"]

# ONNX's names of those types that numpy calls otherwise.
_DTYPES = {"float": "float32", "double": "float64", "string": "object"}
_TYPES = {"bool", "float16", "float", "double", "string"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


@dataclasses.dataclass(frozen=True)
class ModelInput:
    """One input of a model.

    Attributes:
        name: as the model calls it.
        dtype: of the array that it takes.
        shape: sizes of the axes, None for any; None as a whole where the model does not tell.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        kind = "string" if self.dtype == object else self.dtype.name
        if self.shape is None:
            return f"{self.name!r} ({kind})"
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name!r} ({kind} [{sizes}])"

    def fitted(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array in this input's dtype and with its axes.

        A column of numbers, ``[examples]``, becomes ``[examples, 1]`` where that is what is wanted.

        Raises:
            ValueError: values that would change, or another shape.
        """
        fitted = self.converted(array)
        if self.shape is None:
            return fitted
        if fitted.ndim == 1 and len(self.shape) == 2 and self.shape[1] in (None, 1):
            fitted = fitted.reshape(-1, 1)
        wanted = self.shape[1:]
        if fitted.ndim != len(self.shape) or any(
            size not in (None, found) for size, found in zip(wanted, fitted.shape[1:], strict=True)
        ):
            raise ValueError(f"of shape {list(fitted.shape[1:])} each")
        return fitted

    def converted(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array in this input's dtype.

        Raises:
            ValueError: values that would change.
        """
        if array.dtype == self.dtype:
            return array
        if self.dtype == object:
            if array.dtype.kind == "U":
                return array.astype(object)
        elif np.can_cast(array.dtype, self.dtype, "same_kind") and array.dtype.kind != "O":
            # whole numbers become numbers with a fraction, and wide ones narrow ones where they fit
            if self.dtype.kind not in "iu" or _holds(self.dtype, array):
                return array.astype(self.dtype)
            raise ValueError(f"of numbers that {self.dtype} cannot hold")
        elif self.dtype.kind == "u" and array.dtype.kind == "i" and _holds(self.dtype, array):
            return array.astype(self.dtype)
        kind = "Python objects" if array.dtype == object else array.dtype.name
        raise ValueError(f"of {kind}")


def read_inputs(session: Any, file: ModelFile) -> dict[str, ModelInput]:
    """The inputs of a session, by name.

    Raises:
        ModelLoadError: an input that is no tensor, or of a type that numpy does not have.
    """
    inputs = {}
    for one in session.get_inputs():
        kind = one.type.removeprefix("tensor(").removesuffix(")")
        if kind not in _TYPES:
            raise ModelLoadError(
                f"model file {file.path!r} has an input {one.name!r} of type {one.type}, which "
                "cannot be made of arrays: export it with tensors as inputs"
            )
        # onnxruntime says [] of a scalar, and also where the model tells nothing
        shape = tuple(size if isinstance(size, int) else None for size in one.shape) or None
        inputs[one.name] = ModelInput(one.name, np.dtype(_DTYPES.get(kind, kind)), shape)
    return inputs


def _holds(dtype: np.dtype[Any], array: np.ndarray[Any, Any]) -> bool:
    if array.dtype.kind == "b" or not array.size:
        return True
    bounds = np.iinfo(dtype)
    return bool(bounds.min <= array.min() and array.max() <= bounds.max)

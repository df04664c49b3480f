"""Copy weights into a model: each of them and no others, or say which do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from runinference.files import ModelFile, load_error

__all__ = ["listed", "load_state_dict"]

_LISTED = 10


def load_state_dict(model: nn.Module, state: dict[str, Any], file: ModelFile) -> None:
    """Copy weights into a model; each of them, and no others.

    Raises:
        ModelLoadError: missing, unexpected and mis-shaped keys, all of them in one message.
    """
    try:
        expected = model.state_dict()
        _share_tied(state, expected)
        model.load_state_dict(state, strict=True)
    except Exception as error:
        kind = type(model).__qualname__
        problems = _misfits(state, expected) or [f"{type(error).__name__}: {error}"]
        raise load_error(
            file,
            f"the weights of {kind}",
            _hint(state, expected),
            found=f"some that do not fit: {'; '.join(problems)}",
        ) from error


def listed(names: Iterable[str]) -> str:
    """The first names of many, and how many more there are."""
    every = list(names)
    more = len(every) - _LISTED
    return ", ".join(every[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _share_tied(state: dict[str, Any], expected: Mapping[str, Any]) -> None:
    """Fill in keys that a file leaves out since the model ties them to others that it has.

    ``safetensors.torch.save_model`` and Hugging Face's ``save_pretrained`` write tied weights once.
    """
    memory = {
        name: (tensor.data_ptr(), tensor.shape, tensor.stride())
        for name, tensor in expected.items()
        if isinstance(tensor, torch.Tensor) and not _is_lazy(tensor) and tensor.numel()
    }
    present = {place: name for name, place in memory.items() if name in state}
    for name, place in memory.items():
        if name not in state and place in present:
            state[name] = state[present[place]]


def _misfits(state: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    problems = []
    missing = [repr(name) for name in expected if name not in state]
    if missing:
        problems.append(f"{len(missing)} missing: {listed(missing)}")
    unexpected = [repr(name) for name in state if name not in expected]
    if unexpected:
        problems.append(f"{len(unexpected)} unexpected: {listed(unexpected)}")
    shapes = [
        f"{name!r} is {_kind(state[name])} in the file and {_kind(expected[name])} in the model"
        for name in expected
        if name in state
        and _kind(state[name]) != _kind(expected[name])
        and not _is_lazy(expected[name])
    ]
    if shapes:
        problems.append(f"{len(shapes)} of another shape: {listed(shapes)}")
    return problems


def _hint(state: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    for prefix in ("module.", "model.", "_orig_mod.", "backbone."):
        if {name.removeprefix(prefix) for name in state} == set(expected):
            return (
                f"Every key of the file begins with {prefix!r}, as wrappers of a model leave it: "
                "save the state dict of the model inside, or rename the keys."
            )
    return "Is model_class with model_params the model that the weights were saved from?"


def _kind(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return "not known yet" if _is_lazy(value) else str(tuple(value.shape))


def _is_lazy(tensor: torch.Tensor) -> bool:
    """Whether the tensor has no shape before the first call, or before it is loaded."""
    return isinstance(tensor, UninitializedParameter | UninitializedBuffer)

"""Read files with weights, whose format their content tells.

Weights are data: ``torch.load(weights_only=True)`` and safetensors run nothing that a file brings.

What torch says about a file that it refuses is not passed on: it ends in the advice to load it
without ``weights_only``, which is what a hostile file would want.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from runinference.errors import ModelLoadError
from runinference.files import ModelFile, load_error
from runinference_pytorch.archives import check_archive, check_load_args, is_archive, program_kind
from runinference_pytorch.weights import listed

__all__ = ["is_safetensors", "read_state_dict"]

_WEIGHTS = "a state dict saved by torch.save (.pt, .pth) or safetensors (.safetensors)"
_SAVE_AGAIN = "Save the weights again: torch.save(model.state_dict(), path)."


def read_state_dict(
    file: ModelFile, key: str | None, load_args: Mapping[str, Any]
) -> dict[str, Any]:
    """The state dict of a file, on the CPU.

    Args:
        file: a file of torch's or of safetensors' format.
        key: where in the file the state dict is, with dots between nested keys; None for the top.
        load_args: further arguments of ``torch.load``.

    Raises:
        ModelLoadError: damaged, of another format, or without a state dict there.
    """
    if is_safetensors(file.data):
        return _read_safetensors(file, key, load_args)
    if program_kind(file.data) is not None:
        raise load_error(
            file,
            _WEIGHTS,
            "It is a program: pass it as torch_script_model_path with allow_model_code=True if you "
            "trust where it comes from, or save the state dict of the model instead.",
        )
    check_load_args(file, torch.load, load_args)
    if is_archive(file.data):
        check_archive(file, _WEIGHTS, _SAVE_AGAIN)
    try:
        found = torch.load(file.open(), map_location="cpu", weights_only=True, **load_args)
    except Exception as error:  # noqa: BLE001 - a damaged file can raise anything
        remedy = f"{_reason(error)}{_SAVE_AGAIN}"
        blocked = re.search(r"GLOBAL (\S+)", str(error))
        if blocked:
            remedy = (
                f"It holds objects of {blocked[1]}, which only code could restore, and only "
                "tensors and plain containers are read. Save the weights alone: "
                "torch.save(model.state_dict(), path), or better "
                "safetensors.torch.save_file(model.state_dict(), path)."
            )
        # Not chained: torch's message is advice to switch the protection off, see above.
        raise load_error(file, _WEIGHTS, remedy) from None
    return _checked(file, _at_key(file, found, key), key)


def _read_safetensors(
    file: ModelFile, key: str | None, load_args: Mapping[str, Any]
) -> dict[str, Any]:
    import safetensors.torch

    if key is not None:
        raise load_error(
            file,
            f"a checkpoint with state_dict_key={key!r}",
            "In such a file nothing is nested: leave state_dict_key out.",
        )
    if load_args:
        raise load_error(
            file,
            f"a file for torch.load with load_model_args={dict(load_args)!r}",
            "Such a file is not read by torch.load: leave them out.",
        )
    try:
        return _checked(file, safetensors.torch.load(file.data), None)
    except ModelLoadError:
        raise
    except Exception as error:
        raise load_error(
            file,
            "a complete safetensors file",
            f"It is damaged ({error}): save or copy it again.",
        ) from error


def _at_key(file: ModelFile, found: Any, key: str | None) -> Any:
    at, rest = found, key
    while rest is not None:
        if isinstance(at, Mapping) and rest in at:
            return at[rest]
        step, dot, rest_after = rest.partition(".")
        if not dot or not isinstance(at, Mapping) or step not in at:
            has = listed(map(repr, at)) if isinstance(at, Mapping) else type(at).__name__
            raise load_error(
                file,
                f"a checkpoint with state_dict_key={key!r}",
                "Name the state dict's place in the file.",
                found=f"no {step!r} there, but {has}",
            )
        at, rest = at[step], rest_after
    return at


def _checked(file: ModelFile, state: Any, key: str | None) -> dict[str, Any]:
    expected = f"a state dict at {key!r}" if key else "a state dict"
    if not isinstance(state, dict):
        raise load_error(
            file,
            expected,
            "Save model.state_dict(), or name its place in the file with state_dict_key.",
            found=f"a {type(state).__qualname__}",
        )
    nested = [
        name
        for name, value in state.items()
        if isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values())
    ]
    if nested and not any(isinstance(value, torch.Tensor) for value in state.values()):
        prefix = f"{key}." if key else ""
        raise load_error(
            file,
            expected,
            f"Say state_dict_key={prefix + str(nested[0])!r}.",
            found=f"a checkpoint in which it is nested, with {listed(map(repr, state))}",
        )
    for name, value in state.items():
        if not isinstance(name, str):
            found = f"a dict with the key {name!r:.80}"
            raise load_error(file, expected, "Save model.state_dict().", found=found)
        # A sparse or quantised tensor brings index data that a model would trust.
        if isinstance(value, torch.Tensor) and (
            value.layout is not torch.strided or value.is_quantized or value.is_meta
        ):
            raise load_error(
                file,
                f"{expected} of dense tensors",
                "Only dense tensors with data are loaded: save the weights as such.",
                found=f"{name!r}, a {value.layout} tensor of {value.dtype} on {value.device}",
            )
    # Not a copy: its attribute _metadata has the versions of modules, which load_state_dict reads.
    checked: dict[str, Any] = state
    return checked


def _reason(error: Exception) -> str:
    """The first sentence of a message of torch's, where it says what is damaged."""
    first = re.split(r"[.\n]", str(error), maxsplit=1)[0].strip()
    return "" if not first or "weights" in first.lower() else f"It is damaged ({first}). "


def is_safetensors(data: bytes) -> bool:
    """Whether it begins as a safetensors file does."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 2**40

"""Read files with weights, whose format their content tells, and files with programs.

Weights are data: ``torch.load(weights_only=True)`` and safetensors run nothing that a file brings.
TorchScript archives are programs, and :func:`load_program` is called only where that was allowed.

What torch says about a file that it refuses is not passed on: it ends in the advice to load it
without ``weights_only``, which is what a hostile file would want.
"""

from __future__ import annotations

import inspect
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from runinference.errors import ModelLoadError
from runinference.files import ModelFile, load_error
from runinference_pytorch.weights import listed

__all__ = ["load_program", "read_state_dict"]

_WEIGHTS = "a state dict saved by torch.save (.pt, .pth) or safetensors (.safetensors)"


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
    if _is_safetensors(file.data):
        return _read_safetensors(file, key, load_args)
    if _is_program(file.data):
        raise load_error(
            file,
            _WEIGHTS,
            "It is a program: pass it as torch_script_model_path with allow_model_code=True if you "
            "trust where it comes from, or save the state dict of the model instead.",
        )
    _check_load_args(torch.load, load_args)
    try:
        found = torch.load(file.open(), map_location="cpu", weights_only=True, **load_args)
    except Exception as error:  # noqa: BLE001 - a damaged file can raise anything
        remedy = f"{_reason(error)}Save the weights again: torch.save(model.state_dict(), path)."
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


def load_program(file: ModelFile, load_args: Mapping[str, Any]) -> nn.Module:
    """A TorchScript model, which is code of the file's author, on the CPU.

    Raises:
        ModelLoadError: damaged or of another format.
    """
    _check_load_args(torch.jit.load, load_args)
    expected, remedy = "a TorchScript archive", "Save it again: torch.jit.save(scripted, path)."
    if not _is_program(file.data):
        if _is_safetensors(file.data) or file.data[:2] in (b"PK", b"\x80\x02"):
            remedy = "If it holds weights, pass it as state_dict_path, with model_class."
        raise load_error(file, expected, remedy)
    try:
        program: nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]  # torch's own lack
            file.open(), map_location="cpu", **load_args
        )
    except Exception as error:
        raise load_error(file, expected, remedy) from error
    return program


def _read_safetensors(
    file: ModelFile, key: str | None, load_args: Mapping[str, Any]
) -> dict[str, Any]:
    import safetensors.torch

    if key is not None:
        raise ModelLoadError(
            f"state_dict_key={key!r}: {file.path!r} is a safetensors file, in which nothing is "
            "nested; leave state_dict_key out"
        )
    if load_args:
        raise ModelLoadError(
            f"load_model_args={dict(load_args)!r}: {file.path!r} is a safetensors file, which is "
            "not read by torch.load; leave them out"
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
            raise ModelLoadError(
                f"state_dict_key={key!r}: {file.path!r} has no {step!r} there; it has "
                f"{listed(map(repr, at)) if isinstance(at, Mapping) else type(at).__name__}"
            )
        at, rest = at[step], rest_after
    return at


def _checked(file: ModelFile, state: Any, key: str | None) -> dict[str, Any]:
    where = f"{file.path!r} at {key!r}" if key else repr(file.path)
    if not isinstance(state, dict):
        raise ModelLoadError(
            f"{where} holds a {type(state).__qualname__}, not a state dict; save "
            "model.state_dict(), or name the state dict's place in the file with state_dict_key"
        )
    nested = [
        name
        for name, value in state.items()
        if isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values())
    ]
    if nested and not any(isinstance(value, torch.Tensor) for value in state.values()):
        prefix = f"{key}." if key else ""
        raise ModelLoadError(
            f"{where} is a checkpoint in which the state dict is nested: say "
            f"state_dict_key={prefix + str(nested[0])!r}; it has {listed(map(repr, state))}"
        )
    for name, value in state.items():
        if not isinstance(name, str):
            raise ModelLoadError(f"{where} holds a dict with the key {name!r:.80}, no state dict")
        # A sparse or quantised tensor brings index data that a model would trust.
        if isinstance(value, torch.Tensor) and (
            value.layout is not torch.strided or value.is_quantized or value.is_meta
        ):
            raise ModelLoadError(
                f"{where}: {name!r} is a {value.layout} tensor of {value.dtype} on "
                f"{value.device}; only dense tensors with data are loaded"
            )
    # Not a copy: its attribute _metadata has the versions of modules, which load_state_dict reads.
    checked: dict[str, Any] = state
    return checked


def _reason(error: Exception) -> str:
    """The first sentence of a message of torch's, where it says what is damaged."""
    first = re.split(r"[.\n]", str(error), maxsplit=1)[0].strip()
    return "" if not first or "weights" in first.lower() else f"It is damaged ({first}). "


def _check_load_args(load: Callable[..., Any], load_args: Mapping[str, Any]) -> None:
    named = {
        name
        for name, parameter in inspect.signature(load).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    } - {"f", "map_location", "weights_only", "pickle_module", "mmap"}
    unknown = [name for name in load_args if name not in named]
    if unknown:
        raise ModelLoadError(
            f"load_model_args has {unknown[0]!r}, which {load.__module__}.{load.__name__} of torch "
            f"{torch.__version__} does not take here; it takes {listed(sorted(named)) or 'none'}"
        )


def _is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 2**40


def _is_program(data: bytes) -> bool:
    """Whether a zip archive has what only TorchScript writes: code, or constants of code."""
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except Exception:  # noqa: BLE001 - a damaged directory of names can raise anything
        return False
    return any(name.endswith("/constants.pkl") or "/code/" in name for name in names)

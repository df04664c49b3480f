"""Load files that are programs; called only where that was allowed.

A TorchScript archive is code of its author. One of ``torch.export`` may hold pickles, which
``torch.export.load`` reads without restriction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from runinference.files import ModelFile, load_error
from runinference.policy import model_code_refusal
from runinference_pytorch.archives import check_archive, check_load_args, is_archive, program_kind
from runinference_pytorch.model_files import is_safetensors

__all__ = ["load_program"]

_EXPECTED = "a TorchScript archive or one of torch.export (.pt2)"
_SAVE_AGAIN = "Save it again: torch.jit.save(scripted, path) or torch.export.save(program, path)."


def load_program(file: ModelFile, load_args: Mapping[str, Any], device: torch.device) -> nn.Module:
    """A program on its device, in evaluation mode; one of ``torch.export`` is as it was exported.

    Raises:
        ModelLoadError: damaged, of another format, or forbidden here.
    """
    refusal = model_code_refusal("allow_model_code=True")
    if refusal is not None:
        raise load_error(file, "a file without code", f"{refusal}.")
    kind, remedy = program_kind(file.data), _SAVE_AGAIN
    if kind is None:
        if is_safetensors(file.data) or is_archive(file.data) or file.data[:2] == b"\x80\x02":
            remedy = "If it holds weights, pass it as state_dict_path, with model_class."
        raise load_error(file, _EXPECTED, remedy)
    check_load_args(file, torch.jit.load if kind == "TorchScript" else torch.export.load, load_args)
    check_archive(file, _EXPECTED, remedy)
    try:
        if kind == "TorchScript":
            return _load_script(file, load_args).to(device).eval()
        return _load_exported(file, load_args, device)
    except Exception as error:
        problem = f"Loading it ended with {type(error).__name__}: {error}."
        raise load_error(file, _EXPECTED, f"{problem} {remedy}") from error


def _load_script(file: ModelFile, load_args: Mapping[str, Any]) -> nn.Module:
    script: nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]  # torch's own lack
        file.open(), map_location="cpu", **load_args
    )
    return script


def _load_exported(
    file: ModelFile, load_args: Mapping[str, Any], device: torch.device
) -> nn.Module:
    program = torch.export.load(file.open(), **load_args)
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return program.module()

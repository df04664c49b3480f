"""Where a model runs: the names of devices, and the device behind a name on this machine."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from runinference.errors import ConfigurationError, ModelLoadError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["device_of", "parse_device", "resolve_device"]

_ACCEPTED = "'cpu', 'cuda', 'cuda:N' (such as 'cuda:1'), 'GPU' (the same as 'cuda'), 'mps', 'auto'"


def parse_device(name: str | None) -> str:
    """The canonical name of a device; nothing is imported and no device is asked for.

    Raises:
        ConfigurationError: a name that is none of the accepted ones.
    """
    canonical = "cpu" if name is None else str(name).strip().lower()
    if canonical == "gpu":
        canonical = "cuda"
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?|mps|auto", canonical):
        raise ConfigurationError(
            f"device={name!r} is not known; accepted, in any case: {_ACCEPTED}"
        )
    return canonical


def resolve_device(name: str) -> torch.device:
    """The device of a canonical name, which is there and works.

    Raises:
        ModelLoadError: it is not there, and ``auto`` was not asked for.
    """
    import torch

    if name == "auto":
        if _cuda_problem("cuda") is None:
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    problem = None
    if name.startswith("cuda"):
        problem = _cuda_problem(name)
    elif name == "mps" and not torch.backends.mps.is_available():
        problem = f"torch {torch.__version__} finds no Apple GPU here"
    if problem:
        raise ModelLoadError(
            f"device={name!r} cannot be used: {problem}. Run where it is, say device='cpu', or say "
            "device='auto' to take a GPU only where there is one"
        )
    return torch.device(name)


def device_of(model: nn.Module, name: str) -> torch.device:
    """Where a model's first parameter or buffer is; the device of the name for a model without."""
    tensor: torch.Tensor
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        return tensor.device
    return resolve_device(name)


def _cuda_problem(name: str) -> str | None:
    """Why a CUDA device cannot be used; None if it can."""
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA GPU here"
    index = int(name.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} CUDA GPUs here, counted from 0"
    try:
        torch.empty(1, device=name)
    except RuntimeError as error:  # a driver that is there but does not work
        return f"it is there, but does not work: {str(error).splitlines()[0]}"
    return None

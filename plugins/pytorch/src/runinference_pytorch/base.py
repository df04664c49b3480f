"""The options of both handlers.

The command line reads them here, and executes what is imported for type checkers alone: not torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runinference.files import parse_sha256
from runinference.outputs import BatchAxis
from runinference_pytorch import options
from runinference_pytorch.devices import parse_device
from runinference_pytorch.padding import Padding, check_padding
from runinference_pytorch.steps import TensorSteps

__all__ = ["PytorchModelHandler"]


class PytorchModelHandler(TensorSteps):
    """The base of both handlers; the options of each are these."""

    def __init__(
        self,
        state_dict_path: str | None = None,
        model_class: str | Callable[..., Any] | None = None,
        model_params: dict[str, Any] | None = None,
        device: str | None = "cpu",
        *,
        torch_script_model_path: str | None = None,
        allow_model_code: bool = False,
        state_dict_key: str | None = None,
        load_model_args: dict[str, Any] | None = None,
        method: str | None = None,
        inference_fn: Callable[..., Any] | None = None,
        padding: Padding | Mapping[str, Padding] | None = None,
        dtype: str | Mapping[str, str] | None = None,
        outputs: Sequence[str] | None = None,
        batch_axis: BatchAxis = 0,
        model_sha256: str | None = None,
    ) -> None:
        """Say which model to load and how to call it; nothing is read yet and torch not imported.

        Args:
            state_dict_path: file with the model's weights: ``.safetensors``, or ``.pt`` or ``.pth``
                as ``torch.save(model.state_dict(), path)`` writes them; needs ``model_class``.
            model_class: class of the model, a function that makes one, or
                ``"package.module:Class"``, which is imported where the model is loaded.
            model_params: what the class is called with, by name.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``GPU`` (the same as ``cuda``), in any
                case; one that is not there is an error when the model is loaded. ``auto`` takes a
                GPU where there is one, else the CPU.
            torch_script_model_path: file with a program, of TorchScript or of ``torch.export``
                (.pt2), instead of weights and class; needs ``allow_model_code``.
            allow_model_code: True to run the program of ``torch_script_model_path``, which can do
                what the user that runs it can; for files from a trusted source.
            state_dict_key: where a checkpoint nests the weights, such as ``model`` or
                ``module.state_dict``.
            load_model_args: further arguments of ``torch.load``, or for a program of
                ``torch.jit.load`` or ``torch.export.load``.
            method: method of the model to call instead of the model itself, such as ``generate``.
            inference_fn: function to call instead of the model, as
                ``inference_fn(batch, model, device, inference_args)``, in inference mode:
                ``batch`` is one tensor ``[examples, ...]``, or a dict of them for examples with
                names, padded and on the device (a ``torch.device``); ``inference_args`` is a dict.
                It returns what the model would.
            padding: fill up examples of different sizes to the largest of their batch; for examples
                with names, one for all tensors or one each for those that it names.
            dtype: what batches are converted to, such as ``float32`` or ``int64``, for examples
                with names also per name; by default examples keep theirs, and of a table's columns
                those with floating-point numbers get that of the model's weights.
            outputs: the leaves of the model's output to keep, such as ``logits`` or ``[0]``; all by
                default.
            batch_axis: the axis of the outputs that counts the examples, for all leaves or per
                leaf; None for a leaf that is the same for all examples.
            model_sha256: the SHA-256 digest that the model's file has to have, 64 hexadecimal
                digits.

        Raises:
            ConfigurationError: options that cannot work, or cannot work together.
        """
        if type(self).load_model is TensorSteps.load_model:
            options.check_source(
                state_dict_path=state_dict_path,
                model_class=model_class,
                model_params=model_params,
                torch_script_model_path=torch_script_model_path,
                allow_model_code=allow_model_code,
                state_dict_key=state_dict_key,
            )
            options.check_environment(allow_model_code=allow_model_code)
        options.check_load_model_args(load_model_args)
        options.check_call(method, inference_fn)
        options.check_outputs(outputs)
        options.check_dtype(dtype, is_keyed=self._is_keyed)
        check_padding(padding, is_keyed=self._is_keyed)
        self.model_path = torch_script_model_path or state_dict_path
        self.model_sha256 = parse_sha256(model_sha256)
        self.model_class = model_class
        self.model_params = dict(model_params or {})
        self.device = parse_device(device)
        self.is_program = torch_script_model_path is not None
        self.state_dict_key = state_dict_key
        self.load_model_args = dict(load_model_args or {})
        self.method = method
        self.inference_fn = inference_fn
        self.padding = dict(padding) if isinstance(padding, Mapping) else padding
        self.dtype = dtype
        self.outputs = outputs
        self.batch_axis = batch_axis

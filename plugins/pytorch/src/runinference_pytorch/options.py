"""Refuse options that cannot work, or cannot work together, before anything is loaded."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from runinference.errors import ConfigurationError, ExampleError, ModelLoadError
from runinference.policy import model_code_refusal
from runinference_pytorch.building import check_model_class

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "check_call",
    "check_dtype",
    "check_environment",
    "check_load_model_args",
    "check_method",
    "check_outputs",
    "check_source",
    "torch_dtypes",
]

_DTYPES = ["bfloat16", "bool", "float16", "float32", "float64"]
_DTYPES += ["int16", "int32", "int64", "int8", "uint8"]

_REFUSED_LOAD_ARGS = {
    "weights_only": "weights are always loaded with weights_only=True: a file must not run code",
    "pickle_module": "weights are never unpickled by another module: a file must not run code",
    "map_location": "weights are read on the CPU and moved to the handler's device",
    "mmap": "the file is read once, so that what was hashed is what is loaded",
    "f": "the file is that of state_dict_path or torch_script_model_path",
}


def check_source(
    *,
    state_dict_path: str | None,
    model_class: str | Callable[..., Any] | None,
    model_params: Mapping[str, Any] | None,
    torch_script_model_path: str | None,
    allow_model_code: bool,
    state_dict_key: str | None,
) -> None:
    """Either weights with a class, or a program that may run.

    Raises:
        ConfigurationError: neither, both, or half of one.
    """
    if torch_script_model_path is not None:
        weights = {
            "state_dict_path": state_dict_path,
            "model_class": model_class,
            "model_params": model_params,
            "state_dict_key": state_dict_key,
        }
        extra = [name for name, value in weights.items() if value is not None]
        if extra:
            raise ConfigurationError(
                f"torch_script_model_path and {extra[0]}: a program brings class and weights; give "
                "one or the other"
            )
        if not allow_model_code:
            raise ConfigurationError(
                f"torch_script_model_path={torch_script_model_path!r}: a file of TorchScript or of "
                "torch.export is a program, which can do what the user that runs it can. If it "
                "comes from a source that you trust, say allow_model_code=True; else load weights "
                "alone, with state_dict_path and model_class"
            )
        return
    if allow_model_code:
        raise ConfigurationError(
            "allow_model_code=True is for torch_script_model_path; weights need no such permission"
        )
    if state_dict_path is None:
        raise ConfigurationError(
            "no model: give state_dict_path with model_class, or torch_script_model_path with "
            "allow_model_code=True; a model that is made in another way needs a subclass that "
            "defines load_model()"
            + (", such as one whose class downloads its own weights" if model_class else "")
        )
    if model_class is None:
        raise ConfigurationError(
            f"state_dict_path={state_dict_path!r} holds weights alone: give the model's class too, "
            "model_class=Net or model_class='package.module:Net'"
        )
    check_model_class(model_class, model_params or {})


def check_environment(*, allow_model_code: bool) -> None:
    """Refuse what the environment forbids.

    Raises:
        ConfigurationError: it forbids that a model file runs code.
    """
    refusal = model_code_refusal("allow_model_code=True") if allow_model_code else None
    if refusal is not None:
        raise ConfigurationError(refusal)


def check_load_model_args(load_model_args: Mapping[str, Any] | None) -> None:
    """Refuse what would take a protection away.

    Raises:
        ConfigurationError: one of those arguments.
    """
    for name in load_model_args or {}:
        if name in _REFUSED_LOAD_ARGS:
            raise ConfigurationError(
                f"load_model_args={{{name!r}: ...}} is not accepted: {_REFUSED_LOAD_ARGS[name]}; "
                "leave it out"
            )


def check_call(method: str | None, inference_fn: Callable[..., Any] | None) -> None:
    """One way of calling the model.

    Raises:
        ConfigurationError: two ways, or a function of another signature.
    """
    if method is not None and inference_fn is not None:
        raise ConfigurationError("method and inference_fn both say how to call the model: give one")
    if method is not None and not str(method).isidentifier():
        raise ConfigurationError(f"method={method!r}: the name of a method is needed")
    if inference_fn is None:
        return
    if not callable(inference_fn):
        raise ConfigurationError(f"inference_fn={inference_fn!r:.100} is no function")
    try:
        signature = inspect.signature(inference_fn)
    except (TypeError, ValueError):  # a callable without a signature, such as one written in C
        return
    try:
        signature.bind("batch", "model", "device", "inference_args")
    except TypeError as error:
        raise ConfigurationError(
            f"inference_fn{signature} has to take (batch, model, device, inference_args), where "
            f"batch is collated and on the device: {error}"
        ) from error


def check_outputs(outputs: Any) -> None:
    """A list of paths.

    Raises:
        ConfigurationError: a single string, which would be read letter by letter, or no path.
    """
    if isinstance(outputs, str):
        raise ConfigurationError(f"outputs={outputs!r}: write outputs=[{outputs!r}]")
    if outputs is not None and not outputs:
        raise ConfigurationError("outputs=[] keeps nothing: name a leaf, or leave it out")


def check_dtype(dtype: Any, *, is_keyed: bool) -> None:
    """The name of a dtype, or one per tensor name.

    Raises:
        ConfigurationError: an unknown name, or names for examples that have none.
    """
    if isinstance(dtype, Mapping) and not is_keyed:
        raise ConfigurationError(
            "dtype={...} per tensor name is for examples with names (torch-keyed)"
        )
    for name in _values(dtype):
        if name not in _DTYPES:
            raise ConfigurationError(f"dtype={name!r} is not known; accepted: {', '.join(_DTYPES)}")


def check_method(method: str | None, model: nn.Module) -> None:
    """The model has the method.

    Raises:
        ModelLoadError: it has not.
    """
    if method is None or callable(getattr(model, method, None)):
        return
    near = difflib.get_close_matches(method, dir(model), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ModelLoadError(f"method={method!r}: {type(model).__qualname__} has no such method{hint}")


def torch_dtypes(
    dtype: str | Mapping[str, str] | None, names: Iterable[str]
) -> dict[str, torch.dtype]:
    """What to convert tensors of these names to; those that keep theirs are left out.

    Raises:
        ExampleError: the dtype of a tensor that the examples do not have.
    """
    import torch

    if dtype is None:
        return {}
    if isinstance(dtype, str):
        return dict.fromkeys(names, getattr(torch, dtype))
    absent = set(dtype).difference(names)
    if absent:
        raise ExampleError(
            f"dtype names the tensor {min(absent)!r}, but an example has "
            f"{', '.join(map(repr, names))}"
        )
    return {name: getattr(torch, kind) for name, kind in dtype.items()}


def _values(dtype: Any) -> Iterable[Any]:
    if dtype is None:
        return ()
    return dtype.values() if isinstance(dtype, Mapping) else (dtype,)

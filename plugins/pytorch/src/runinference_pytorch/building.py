"""Make a model object: find its class, see whether the parameters fit, call it."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from runinference.errors import ConfigurationError, ModelLoadError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_model", "check_model_class"]


def check_model_class(
    model_class: Callable[..., Any] | str, model_params: Mapping[str, Any]
) -> None:
    """Refuse what can be seen without importing anything.

    Raises:
        ConfigurationError: no class, or parameters that it does not take.
    """
    if isinstance(model_class, str):
        if not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", model_class):
            raise ConfigurationError(
                f"model_class={model_class!r}: write 'package.module:Class', with a colon before "
                "the class"
            )
        return
    if not callable(model_class):
        raise ConfigurationError(
            f"model_class={model_class!r:.100}: a class, a function that makes a model, or "
            "'package.module:Class' is needed"
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model_class, torch.nn.Module):
        raise ConfigurationError(
            f"model_class is a model, a {type(model_class).__qualname__}: give its class and what "
            "its constructor takes (model_params), so that each worker can make its own"
        )
    problem = _misfit(model_class, model_params)
    if problem:
        raise ConfigurationError(problem)


def build_model(
    model_class: Callable[..., Any] | str, model_params: Mapping[str, Any]
) -> nn.Module:
    """A model with the weights that its constructor gives it.

    Raises:
        ModelLoadError: the class cannot be imported, or its constructor does not make a model.
    """
    from torch import nn

    make = _import(model_class) if isinstance(model_class, str) else model_class
    named = f"model_class={_name(model_class)}"
    if not callable(make):
        raise ModelLoadError(f"{named} is no class, but {make!r:.80}")
    problem = _misfit(make, model_params)
    if problem:
        raise ModelLoadError(problem)
    try:
        model = make(**model_params)
    except Exception as error:
        raise ModelLoadError(
            f"{named} cannot be made with model_params={dict(model_params)!r:.200}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelLoadError(
            f"{named} makes a {type(model).__qualname__}, but a torch.nn.Module is needed"
        )
    return model


def _import(name: str) -> Any:
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module may do anything while it is imported
        raise ModelLoadError(
            f"model_class={name!r}: the module {module_name!r} cannot be imported "
            f"({type(error).__name__}: {error}); is it installed, or its folder on PYTHONPATH, on "
            "every worker?"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ModelLoadError(
                f"model_class={name!r}: the module {module_name!r} ({_file(module_name)}) has no "
                f"{path!r}"
            )
        found = getattr(found, part)
    return found


def _misfit(make: Callable[..., Any], params: Mapping[str, Any]) -> str | None:
    """How the parameters do not fit the constructor; None if they do, or if it does not tell."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # a callable without a signature, such as one written in C
        return None
    try:
        signature.bind(**params)
    except TypeError as error:
        return f"model_params={dict(params)!r:.200} do not fit {_name(make)}{signature}: {error}"
    return None


def _name(model_class: Callable[..., Any] | str) -> str:
    if isinstance(model_class, str):
        return repr(model_class)
    return str(getattr(model_class, "__qualname__", repr(model_class)))


def _file(module_name: str) -> str:
    return getattr(sys.modules.get(module_name), "__file__", None) or "built in"

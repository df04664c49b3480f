"""What makes a handler of Beam's one that is found by name: its options are told and checked.

Beam's constructors pass over keywords that they do not know, and mix what the model is with how to
run it. Found by name, a handler has the options that say what the model is, and no others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from runinference.config import beam_replacement

__all__ = ["ByName"]

# What Beam's handlers of remote models give to their base class themselves.
_TAKEN = frozenset({"namespace", "retry_filter"})


class ByName:
    """To stand before a handler of Beam's among the bases of a class.

    Attributes:
        options_in_kwargs: options that Beam's constructor takes out of its ``**kwargs``.
    """

    options_in_kwargs: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if ByName not in cls.__bases__:
            return
        beams = cls.__mro__[cls.__mro__.index(ByName) + 1]
        cls.__init__ = _constructor(beams, cls.options_in_kwargs)  # type: ignore[method-assign]  # built


def _constructor(beams: type[Any], options_in_kwargs: tuple[str, ...]) -> Callable[..., None]:
    options = _options(beams)
    for name in options_in_kwargs:
        kind = inspect.Parameter.KEYWORD_ONLY
        options[name] = inspect.Parameter(name, kind, default=None, annotation=str | None)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.Signature([itself, *options.values()])

    def __init__(self: object, **given: Any) -> None:
        signature.bind(self, **given)  # an option that is unknown or missing is a TypeError
        beams.__init__(self, **given)

    __init__.__doc__ = beams.__init__.__doc__
    __init__.__signature__ = signature  # type: ignore[attr-defined]  # what inspect reads
    return __init__


def _options(beams: type[Any]) -> dict[str, inspect.Parameter]:
    """The options of a class, and of those that its ``**kwargs`` go on to, by name."""
    found: dict[str, inspect.Parameter] = {}
    for kind in beams.__mro__:
        init = vars(kind).get("__init__")
        if init is None or kind is object:
            continue
        _, *parameters = inspect.signature(init).parameters.values()
        passes_on = False
        for parameter in parameters:
            passes_on |= parameter.kind is parameter.VAR_KEYWORD
            if parameter.name not in found and _is_option(parameter):
                found[parameter.name] = parameter.replace(kind=parameter.KEYWORD_ONLY)
        if not passes_on:
            break
    return found


def _is_option(parameter: inspect.Parameter) -> bool:
    if parameter.kind is parameter.VAR_KEYWORD or parameter.name in _TAKEN:
        return False
    # a batch size that is required is one that an engine was built for
    return beam_replacement(parameter.name) is None or parameter.default is parameter.empty

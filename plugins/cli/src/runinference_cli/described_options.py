"""The options of a class with types, defaults and help, of its constructor."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import Any

__all__ = ["DescribedOption", "described_options"]


@dataclasses.dataclass(frozen=True)
class DescribedOption:
    """An argument of a constructor.

    Attributes:
        name: of the argument.
        type: its annotation as it is written, but the values of a choice instead of its name; ""
            where it has none.
        default: as Python writes it; None where the option is required.
        text: what the docstring says of it; "" where it says nothing.
    """

    name: str
    type: str
    default: str | None
    text: str


def described_options(kind: type[Any]) -> list[DescribedOption]:
    """The options of a class, in the order of its constructor's arguments."""
    import docstring_parser  # only here: listing handlers does without

    described = docstring_parser.parse(inspect.getdoc(kind) or "")
    constructor = docstring_parser.parse(inspect.getdoc(kind.__init__) or "")
    helps = {p.arg_name: p.description for p in [*described.params, *constructor.params]}
    return [
        DescribedOption(
            name=parameter.name,
            type=_type(parameter, kind),
            default=None if parameter.default is parameter.empty else repr(parameter.default),
            text=helps.get(parameter.name) or "",
        )
        for parameter in inspect.signature(kind).parameters.values()
    ]


def _type(parameter: inspect.Parameter, kind: type[Any]) -> str:
    try:
        hint = typing.get_type_hints(kind.__init__).get(parameter.name)
    except Exception:  # noqa: BLE001  # an annotation that only a type checker can resolve
        hint = None
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)

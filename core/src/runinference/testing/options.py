"""Checks: a handler's options can be given by name, by the command line and by mistake."""

from __future__ import annotations

import inspect
import re

from runinference.testing.subject import Subject, fail

__all__ = [
    "check_options_are_documented",
    "check_options_are_free",
    "check_options_are_keywords",
    "check_options_are_typed",
]


def check_options_are_keywords(subject: Subject) -> None:
    """Every option has a name of its own, so that a misspelled one is an error."""
    for parameter in _options(subject):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            fail(
                f"{_constructor(subject)} takes {stars}{parameter.name}, which swallows misspelled "
                "options: name each option; a dict of them can be one option"
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            fail(
                f"{_constructor(subject)} takes {parameter.name} by position alone, but "
                f"RunInference('name', {parameter.name}=...) gives it by name: remove the /"
            )


def check_options_are_typed(subject: Subject) -> None:
    """Every option has a type, which the command line parses it by."""
    for parameter in _options(subject):
        if parameter.annotation is parameter.empty:
            fail(
                f"{_constructor(subject)} does not tell the type of {parameter.name}: write "
                f"{parameter.name}: str, or whatever it is; the command line parses it by that"
            )


def check_options_are_documented(subject: Subject) -> None:
    """Every option is explained, where the command line's help looks for it."""
    kind = type(subject.handler)
    documented = [*kind.__mro__, *(vars(of).get("__init__") for of in kind.__mro__)]
    texts = [text for of in documented if (text := getattr(of, "__doc__", None))]
    for parameter in _options(subject):
        name = re.escape(parameter.name)
        # as Google, numpy and Sphinx write it
        told = re.compile(rf"^\s*(?::param\s.*\b{name}:|{name}\s*(?:\(.*\))?\s*:)", re.MULTILINE)
        if not any(told.search(text) for text in texts):
            fail(
                f"the docstring of {_constructor(subject)} does not explain {parameter.name}: add "
                f"'{parameter.name}: what it is' below 'Args:'; "
                "the command line shows it as help"
            )


def check_options_are_free(subject: Subject) -> None:
    """No option has a name that RunInference itself takes."""
    from runinference.step import RESERVED

    for parameter in _options(subject):
        if parameter.name in RESERVED:
            fail(
                f"{_constructor(subject)} has an option {parameter.name!r}, which "
                f"RunInference('name', {parameter.name}=...) takes itself: give it another name"
            )


def _options(subject: Subject) -> list[inspect.Parameter]:
    return list(inspect.signature(type(subject.handler)).parameters.values())


def _constructor(subject: Subject) -> str:
    return f"{type(subject.handler).__qualname__}.__init__()"

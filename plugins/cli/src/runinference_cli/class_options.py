"""Options that come from a class: its constructor's signature and docstring."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

__all__ = ["add_class_options", "given_options"]

# A value of any type is data, also where it looks like {class_path: ...}.
set_parsing_settings(instantiate_subclass_spec_in_any=False)


def add_class_options(
    parser: ArgumentParser, key: str, kind: type[Any], title: str, skip: Collection[str] = ()
) -> None:
    """Let a parser take ``--key.option`` for each argument of a class's constructor.

    Args:
        parser: gets a group of options.
        key: stands before the options' names.
        kind: the class.
        title: of the group in the help.
        skip: arguments that are no options.
    """
    parser.add_argument_group(title).add_class_arguments(
        kind, key, as_group=False, instantiate=False, fail_untyped=False, skip=set(skip)
    )


def given_options(
    key: str, parsed: Namespace, made: Namespace, defaults: Namespace
) -> dict[str, Any]:
    """What was given for a class, by its arguments' names.

    Args:
        key: of :func:`add_class_options`.
        parsed: what the parser read.
        made: the same as the objects that it stands for.
        defaults: of the parser.
    """
    if key not in made:
        return {}
    told, unset = parsed[key], defaults[key]
    # an option left at its default is not passed on: what runs is the class's own default
    return {k: v for k, v in made[key].as_dict().items() if told[k] != unset[k]}

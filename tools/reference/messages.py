"""Collect the messages that the program can print: errors, warnings, and what is told of others'.

A message is a text with holes (``…``) for what only a run knows.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import re
from collections.abc import Iterator

from reference.sources import Function, Module, modules
from reference.texts import HOLE, Scope, texts

__all__ = ["Message", "constant_words", "messages"]

# Functions that return what is printed though no error is made of it there, and what it is.
_TELLERS = {
    ("runinference.table_edge", "locate"): "part",
    ("runinference_cli.plugins", "_ended"): "told",
    ("runinference_cli.plugins", "_unmet"): "told",
}
# Functions that make an error, or raise one, of what they are called with.
_MAKERS = {"load_error": "ModelLoadError", "fail": "CheckFailedError"}
_LEVELS = {"warning", "error", "exception"}
# Raised and caught by this project's own code: nobody reads them.
_INTERNAL = {
    "AssertionError",
    "AttributeError",
    "BlockedNameError",
    "CarriedError",
    "ChildError",
    "_StatusError",
}
_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclasses.dataclass(frozen=True, order=True)
class Message:
    """One message.

    Attributes:
        module: that prints it.
        kind: the error's class, or ``warning``.
        text: with holes.
    """

    module: str
    kind: str
    text: str


@functools.cache
def messages() -> tuple[Message, ...]:
    """All messages, by module."""
    parts: set[tuple[str, str]] = set()
    found = [message for module in modules().values() for message in _of_module(module, parts)]
    found += [Message(module, "part", text) for module, text in parts]
    return tuple(sorted({one for one in found if len(_WORD.findall(one.text)) > _fewest(one)}))


def _fewest(message: Message) -> int:
    """So many words are nothing that a person would look for."""
    if message.text.startswith("--"):
        return 0  # an option is a word to look for
    return 2 if message.kind == "part" else 1


def constant_words(text: str) -> list[str]:
    """The parts of a message that are the same whenever it is printed."""
    return [part.strip() for part in text.split(HOLE) if _WORD.search(part)]


def _of_module(module: Module, parts: set[tuple[str, str]]) -> Iterator[Message]:
    for function, call in _calls(module):
        scope = Scope(module, function, parts=parts)
        kind = _kind(call, module)
        if kind is not None and function is not None and function.name == _name(call.func):
            continue  # the function that makes the error, of what it is called with
        for text in [] if kind is None else _texts_of(call, scope):
            yield Message(module.name, kind or "", text.strip())
    for (source, name), kind in _TELLERS.items():
        for function in module.functions.get(name, []) if source == module.name else []:
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    for text in texts(node.value, Scope(module, function, parts=parts)):
                        yield Message(module.name, kind, text.strip())


def _kind(call: ast.Call, module: Module) -> str | None:
    """The class of the error that a call makes, or ``warning``; None where it makes none."""
    name = _name(call.func)
    if name in _MAKERS and (name in module.imported or name in module.functions):
        return _MAKERS[name]
    if isinstance(call.func, ast.Attribute) and _name(call.func.value) == "_log":
        return "warning" if name in _LEVELS else None
    if not name.endswith("Error") or name in _INTERNAL:
        return None
    is_own = any(isinstance(n, ast.ClassDef) and n.name == name for n in module.tree.body)
    return name if is_own or name in module.imported or hasattr(builtins, name) else None


def _texts_of(call: ast.Call, scope: Scope) -> list[str]:
    if _name(call.func) == "load_error":
        return _load_error(call, scope)
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    found = texts(given[0], scope) if given else []
    # what logging puts in later
    return [re.sub(r"%[-\d.]*[sdrfg]", HOLE, text) for text in found]


def _load_error(call: ast.Call, scope: Scope) -> list[str]:
    """As ``runinference.files.load_error(file, expected, remedy, found=)`` puts it."""
    files = modules()["runinference.files"]
    (maker,) = files.functions["load_error"]
    names = [argument.arg for argument in maker.args.args]
    given = dict(zip(names, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    bound = {name: texts(given[name], scope) if name in given else [HOLE] for name in names}
    (made,) = (n.value for n in ast.walk(maker) if isinstance(n, ast.Return))
    assert isinstance(made, ast.Call)
    return texts(made.args[0], scope.at(files, maker, bound))


def _calls(module: Module) -> Iterator[tuple[Function | None, ast.Call]]:
    """Every call, with the innermost function around it."""
    todo: list[tuple[ast.AST, Function | None]] = [(module.tree, None)]
    while todo:
        node, function = todo.pop()
        if isinstance(node, ast.Call):
            yield function, node
        inner = node if isinstance(node, Function) else function
        todo += [(child, inner) for child in ast.iter_child_nodes(node)]


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")

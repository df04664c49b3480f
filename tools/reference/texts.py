"""What texts an expression may have, with a hole for whatever the code does not tell.

An expression is followed through names, conditions and functions of this project that return texts,
so that ``raise SomeError(_message(path))`` has the words that ``_message`` puts together.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Mapping

from reference.sources import Function, Module, modules

__all__ = ["HOLE", "Scope", "texts"]

HOLE = "…"
_MOST_DEEP = 6
_MOST_TEXTS = 16
_MOST_WITHIN = 2
_MOST_ALIKE = 3
# Names that are near, and lists of names: nothing that is the same in two runs.
_OPAQUE = "runinference.hints"
_WORDS = re.compile(r"[A-Za-z]{2,}")


class Scope:
    """Where an expression stands."""

    def __init__(
        self,
        module: Module,
        function: Function | None,
        given: Mapping[str, list[str]] | None = None,
        depth: int = 0,
        parts: set[tuple[str, str]] | None = None,
    ) -> None:
        """Take the place.

        Args:
            module: whose code it is.
            function: around it, if any.
            given: what the function's parameters are, where its call is known.
            depth: how many calls and names led here.
            parts: gets texts that stand within others and are too many to be told in each, with
                the names of their modules.
        """
        self.module = module
        self.function = function
        self.given = given or {}
        self.depth = depth
        self.parts = set() if parts is None else parts

    def at(
        self,
        module: Module,
        function: Function | None,
        given: Mapping[str, list[str]] | None = None,
    ) -> Scope:
        """Another place that led from here."""
        return Scope(module, function, given, self.depth + 1, self.parts)

    def deeper(self) -> Scope:
        """The same place, one step further from the beginning."""
        return self.at(self.module, self.function, self.given)


def texts(node: ast.expr, scope: Scope) -> list[str]:
    """The texts that an expression may have; a hole alone where nothing is known."""
    if scope.depth > _MOST_DEEP:
        return [HOLE]
    found = _texts(node, scope)
    return list(dict.fromkeys(_joined(text) for text in found))[:_MOST_TEXTS] or [HOLE]


def _texts(node: ast.expr, scope: Scope) -> list[str]:
    match node:
        case ast.Constant(value=str() as value):
            return [value]
        case ast.JoinedStr(values=values):
            return _product(_part(value, scope) for value in values)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _product([texts(left, scope), texts(right, scope)])
        case ast.BinOp(op=ast.Mod(), left=left):
            return [re.sub(r"%[-\d.]*[sdrfg]", HOLE, text) for text in texts(left, scope)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*texts(body, scope), *texts(orelse, scope)]
        case ast.BoolOp(values=values):
            return [text for value in values for text in texts(value, scope)]
        case ast.NamedExpr(value=value):
            return texts(value, scope)
        case ast.Name(id=name):
            return _named(name, scope)
        case ast.Call(func=ast.Attribute(value=value, attr="strip" | "lstrip" | "rstrip")):
            return texts(value, scope)
        case ast.Call():
            return _called(node, scope)
        case ast.Subscript(value=ast.Name(id=name)) if name in scope.module.constants:
            table = scope.module.constants[name]
            values = table.values if isinstance(table, ast.Dict) else []
            return [text for value in values for text in texts(value, scope.deeper())]
    return [HOLE]


def _part(value: ast.expr, scope: Scope) -> list[str]:
    """A part of a formatted text; words that may be left out are told."""
    if not isinstance(value, ast.FormattedValue):
        return texts(value, scope)
    every = [text for text in texts(value.value, scope) if text]
    # beside what only a run knows, "none" is no words to look for
    fewest = 3 if any(not _WORDS.search(text) for text in every) else 1
    found = [text for text in every if len(_WORDS.findall(text)) >= fewest]
    if not found or value.conversion != -1:
        return [HOLE]
    if len([text for text in every if text != HOLE]) > _MOST_WITHIN:
        scope.parts.update((scope.module.name, text) for text in found if " " in text)
        return [HOLE]
    return found


def _named(name: str, scope: Scope) -> list[str]:
    if name in scope.given:
        return scope.given[name]
    inner = scope.deeper()
    if scope.function is not None:
        assigned = [
            text
            for node in ast.walk(scope.function)
            for value in _values_of(node, name)
            for text in texts(value, inner)
        ]
        if assigned:
            return [text for text in assigned if text] or assigned
        if any(name == argument.arg for argument in _arguments(scope.function)):
            return _passed(name, scope.function, inner)
    if name in scope.module.constants:
        return texts(scope.module.constants[name], inner.at(scope.module, None))
    source = modules().get(scope.module.imported.get(name, ""))
    if source is not None and name in source.constants:
        return texts(source.constants[name], inner.at(source, None))
    return [HOLE]


def _values_of(node: ast.AST, name: str) -> Iterable[ast.expr]:
    """What a statement or an expression assigns to a name."""
    match node:
        case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
            yield value
        case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
            yield value
        case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
            if target == name:
                yield value
        case ast.NamedExpr(target=ast.Name(id=target), value=value) if target == name:
            yield value
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=values):
            for position, one in enumerate(names):
                if isinstance(one, ast.Name) and one.id == name:
                    for each in _branches(values):
                        if isinstance(each, ast.Tuple) and len(each.elts) == len(names):
                            yield each.elts[position]


def _branches(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.IfExp):
        return [*_branches(node.body), *_branches(node.orelse)]
    return [node]


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _passed(name: str, function: Function, scope: Scope) -> list[str]:
    """What the calls in the same module pass for a parameter of a function."""
    found = []
    for caller in itertools.chain(*scope.module.functions.values()):
        for node in ast.walk(caller):
            if isinstance(node, ast.Call) and _name(node.func) == function.name:
                value = _argument(node, function, name)
                if value is not None and caller is not function:
                    found += texts(value, scope.at(scope.module, caller))
    return found or [HOLE]


def _argument(call: ast.Call, function: Function, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    names = [argument.arg for argument in _arguments(function)]
    if names[:1] in (["self"], ["cls"]):
        del names[0]
    position = names.index(name) if name in names else len(names)
    return call.args[position] if position < len(call.args) else None


def _called(node: ast.Call, scope: Scope) -> list[str]:
    name = _name(node.func)
    found = []
    for module, function in _functions(node.func, name, scope.module):
        given = {}
        for argument in _arguments(function):
            value = _argument(node, function, argument.arg)
            given[argument.arg] = [HOLE] if value is None else texts(value, scope.deeper())
        inner = scope.at(module, function, given)
        for one in ast.walk(function):
            if isinstance(one, ast.Return | ast.Yield) and one.value is not None:
                found += texts(one.value, inner)
    return found or [HOLE]


def _functions(called: ast.expr, name: str, module: Module) -> list[tuple[Module, Function]]:
    """The functions of this project that a call may mean."""
    if isinstance(called, ast.Name):
        module = modules().get(module.imported.get(name, ""), module)
        return [] if module.name == _OPAQUE else _of(module, name)
    if not isinstance(called, ast.Attribute):
        return []
    own = _of(module, name)
    if own and (isinstance(called.value, ast.Name) or all(_is_of_text(f) for _, f in own)):
        return own
    everywhere = [found for one in modules().values() for found in _of(one, name)]
    is_told = len(everywhere) <= _MOST_ALIKE and all(_is_of_text(f) for _, f in everywhere)
    return everywhere if is_told else []


def _is_of_text(function: Function) -> bool:
    return function.returns is not None and "str" in ast.unparse(function.returns)


def _of(module: Module, name: str) -> list[tuple[Module, Function]]:
    return [(module, function) for function in module.functions.get(name, [])]


def _product(parts: Iterable[list[str]]) -> list[str]:
    made = [""]
    for part in parts:
        made = [start + text for start in made for text in part][:_MOST_TEXTS]
    return made


def _joined(text: str) -> str:
    """Holes that stand side by side are one; line breaks are blanks, as an error is told."""
    return re.sub(rf"{HOLE}(?:\s*{HOLE})+", HOLE, re.sub(r"\s+", " ", text))


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")

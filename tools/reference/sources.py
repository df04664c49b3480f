"""Read the distributions' modules as syntax trees, without importing them."""

from __future__ import annotations

import ast
import dataclasses
import functools
from pathlib import Path

__all__ = ["ROOT", "Function", "Module", "modules"]

ROOT = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclasses.dataclass(frozen=True)
class Module:
    """One module.

    Attributes:
        name: with dots.
        tree: its code.
        functions: by name, those of classes too.
        constants: values assigned to names at its top.
        imported: the modules that names were imported from.
    """

    name: str
    tree: ast.Module
    functions: dict[str, list[Function]]
    constants: dict[str, ast.expr]
    imported: dict[str, str]


@functools.cache
def modules() -> dict[str, Module]:
    """All modules of core and plugins, by name."""
    found = {}
    for source in sorted([ROOT / "core/src", *ROOT.glob("plugins/*/src")]):
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            if "template" not in parts:
                name = ".".join(parts).removesuffix(".__init__")
                found[name] = _read(name, ast.parse(path.read_text()))
    return found


def _read(name: str, tree: ast.Module) -> Module:
    functions: dict[str, list[Function]] = {}
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            functions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {alias.asname or alias.name: node.module for alias in node.names}
    constants = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=value):
                constants[target] = value
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
                constants[target] = value
    return Module(name, tree, functions, constants, imported)

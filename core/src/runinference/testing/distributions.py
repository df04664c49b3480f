"""Checks: what a handler's distribution imports and declares."""

from __future__ import annotations

import functools
import inspect
import sys

from packaging.specifiers import SpecifierSet

from runinference._version import __version__
from runinference.registry import GROUP, available_handlers
from runinference.testing.interpreter import ChildError, run_child
from runinference.testing.subject import Subject, does_not_apply, fail

__all__ = ["check_framework_is_imported_late", "check_requirement_on_runinference"]

_UPPER = {"<", "<=", "==", "===", "~="}

# Every module of the core that handlers build on, so that what these import is nobody's fault.
_IMPORTS = """
import sys
import apache_beam, numpy, pyarrow
import runinference.columns, runinference.files, runinference.handler, runinference.transform
before = set(sys.modules)
try:
    __import__(payload)
    answer = sorted(set(sys.modules) - before)
except ModuleNotFoundError as error:
    if error.name is None or not (payload + ".").startswith(error.name + "."):
        raise
    answer = None
"""


def check_framework_is_imported_late(subject: Subject) -> None:
    """Importing the handler's module imports no framework: listing and building need none."""
    module = type(subject.handler).__module__
    if module == "__main__":
        does_not_apply("the handler's class is in __main__, which is no module to import")
    try:
        imported = _imported_with(module, tuple(sys.path))
    except ChildError as error:
        fail(f"{module} cannot be imported in a fresh interpreter: {error}")
    if imported is None:
        does_not_apply(f"a fresh interpreter does not find the module {module!r}")
    own = {module.partition(".")[0], "runinference"}
    packages: dict[str, int] = {}
    for name in imported:
        top = name.partition(".")[0]
        if top not in own and top not in sys.stdlib_module_names and not _is_generated(top):
            packages[top] = packages.get(top, 0) + 1
    if packages:
        told = ", ".join(f"{top} ({count} modules)" for top, count in sorted(packages.items()))
        fail(
            f"importing {module} imports {told}: listing handlers, --help and building a pipeline "
            "would pay for it. Import it within load_model() and the methods that need it, and for "
            "annotations under 'if TYPE_CHECKING:'"
        )


def check_requirement_on_runinference(subject: Subject) -> None:
    """The distribution says which versions of ``runinference`` it works with, and up to which."""
    top = type(subject.handler).__module__.partition(".")[0]
    registered = [i for i in available_handlers() if i.target.split(":")[0].split(".")[0] == top]
    if not registered:
        does_not_apply(
            f"no installed distribution registers a handler of {top!r} as an entry point of the "
            f"group {GROUP!r}"
        )
    info = registered[0]
    gate = SpecifierSet(info.requires)
    remedy = f"add 'runinference>={_minor(0)},<{_minor(1)}' to the dependencies in pyproject.toml"
    if not gate:
        fail(f"{info.distribution} does not say which versions of runinference it needs: {remedy}")
    if not any(specifier.operator in _UPPER for specifier in gate):
        fail(
            f"{info.distribution} requires runinference{gate}, which ends nowhere: a later version "
            f"may ask other things of a handler. Instead, {remedy}"
        )
    if not gate.contains(__version__, prereleases=True):
        fail(
            f"{info.distribution} requires runinference{gate}, but {__version__} is installed "
            f"here: test with what is declared, or {remedy}"
        )


def _minor(step: int) -> str:
    major, minor, *_ = __version__.split(".")
    return f"{major}.{int(minor) + step}"


def _is_generated(top: str) -> bool:
    # what compiled modules and editable installations leave in sys.modules
    return top.startswith(("_", "cython_runtime"))


@functools.lru_cache(maxsize=64)
def _imported_with(module: str, path: tuple[str, ...]) -> list[str] | None:
    """The modules that come with a module; None where there is no such module."""
    imported: list[str] | None = run_child(inspect.cleandoc(_IMPORTS), module)
    return imported

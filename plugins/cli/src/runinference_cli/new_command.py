"""``runinference new``: write a distribution with a handler, complete and tested, to start from."""

from __future__ import annotations

import importlib.util
import keyword
import re
import string
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from runinference._version import __version__
from runinference.registry import available_handlers
from runinference_cli.failures import UsageError

__all__ = ["write_distribution"]

_SUFFIX = ".template"
# The rule for names of distributions, as the packaging standards have it.
_NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.IGNORECASE)


def write_distribution(name: str, folder: str | None = None) -> str:
    """Write the files of a distribution.

    Args:
        name: of the distribution.
        folder: to write to; one of its name, in the current one, where None.

    Returns:
        What was written, and what to do next.

    Raises:
        UsageError: a name that cannot be one, or is taken; or a folder that is there.
    """
    words = _words(name)
    package = "_".join(words)
    handler = "-".join(_handler_words(words))
    _check_free(name, package, handler)
    target = Path(folder or name)
    if target.exists():
        raise UsageError(f"{str(target)!r} is there already: remove it, or name another --folder")
    major, minor, *_ = __version__.split(".")
    values = {
        "distribution": name,
        "package": package,
        "handler": handler,
        "class_name": "".join(word.capitalize() for word in handler.split("-")) + "Handler",
        "minor": f"{major}.{minor}",
        "next_minor": f"{major}.{int(minor) + 1}",
    }
    written = []
    for path, template in _templates(files("runinference_cli") / "template"):
        if path.parts[0] == "src":
            path = Path("src", package, *path.parts[1:])
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        text = string.Template(template.read_text(encoding="utf-8")).substitute(values)
        (target / path).write_text(text, encoding="utf-8")
        written.append(path)
    typed = Path("src", package, "py.typed")
    (target / typed).touch()
    listed = "\n".join(f"  {path}" for path in sorted([*written, typed]))
    return (
        f"wrote {target}, with the handler {handler!r}:\n{listed}\n"
        f"next: cd {target} && pip install -e . --group test && pytest"
    )


def _words(name: str) -> list[str]:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a distribution: letters, digits and - _ . between them, such "
            "as acme-handler"
        )
    words = re.split(r"[-_.]+", name.lower())
    package = "_".join(words)
    if not package.isidentifier() or keyword.iskeyword(package):
        raise UsageError(
            f"{name!r} makes no name for a Python package ({package!r}): begin with a letter"
        )
    return words


def _handler_words(words: list[str]) -> list[str]:
    """A handler's name without what every handler's would have in it."""
    short = words[1:] if words[0] == "runinference" else words
    short = short[:-1] if short and short[-1] in ("handler", "handlers") else short
    return short or words


def _check_free(name: str, package: str, handler: str) -> None:
    try:
        installed = version(name)
    except PackageNotFoundError:
        pass
    else:
        raise UsageError(
            f"the name {name!r} is taken: {name} {installed} is installed here; choose another"
        )
    if package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None:
        raise UsageError(
            f"the name {name!r} makes the package {package!r}, and there is one already: choose "
            "another"
        )
    for info in available_handlers():
        if info.name == handler:
            raise UsageError(
                f"the handler {handler!r} is one of {info.distribution} {info.version}, which is "
                "installed here: choose another name"
            )


def _templates(folder: Traversable, at: Path = Path()) -> Iterator[tuple[Path, Traversable]]:
    """The templates below a folder, with the paths of the files that they make."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, at / entry.name)
        elif entry.name.endswith(_SUFFIX):
            yield at / entry.name.removesuffix(_SUFFIX), entry

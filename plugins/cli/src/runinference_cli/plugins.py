"""What of ``runinference`` is installed, and whether it can be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from runinference.entry_points import registrations
from runinference.policy import plugin_refusal
from runinference.registry import GROUP, available_handlers
from runinference.testing.interpreter import ChildError, run_child

__all__ = ["Finding", "distributions", "handlers", "libraries", "observers"]

_OBSERVERS = "runinference.observers"


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        kind: what it is, such as "handler".
        name: which one.
        detail: more about it, such as its version.
        state: "ok", "no" for what is not here, or what is wrong.
        why: the reason, where it is not "ok".
    """

    kind: str
    name: str
    detail: str
    state: str = "ok"
    why: str = ""


# Run where whatever the plugins do harms nobody: they may be built for another processor.
_IMPORT_HANDLERS = """
from runinference.errors import HandlerLookupError
from runinference.registry import handler_class
answer = {}
for name in payload:
    try:
        handler_class(name)
    except HandlerLookupError as error:
        is_import = isinstance(error.__cause__, ImportError)
        answer[name] = (type(error).__name__, str(error), is_import)
"""
_IMPORT_OBSERVER = """
import importlib
module, _, attribute = payload.partition(":")
answer = getattr(importlib.import_module(module), attribute) is None if attribute else False
"""
_TOGETHER = 4
_STATES = {"BrokenHandlerError": "broken", "NotAHandlerError": "broken"}


def distributions() -> list[Finding]:
    """The core and every distribution that registers something with it."""
    return [Finding("distribution", name, version(name), *_unmet(name)) for name in sorted(_ours())]


def handlers() -> list[Finding]:
    """Every registered handler, imported in a process per distribution."""
    by_distribution: dict[str, list[str]] = {}
    for info in available_handlers():
        by_distribution.setdefault(info.distribution, []).append(info.name)
    found = list(_blocked(GROUP, "handler"))
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for of_one in pool.map(_imported, by_distribution, by_distribution.values()):
            found += of_one
    return sorted(found, key=lambda finding: finding.name)


def _imported(name: str, names: list[str]) -> list[Finding]:
    """The handlers of one distribution."""
    try:
        failed = run_child(_IMPORT_HANDLERS, names)
    except ChildError as error:
        failed = dict.fromkeys(names, ("BrokenHandlerError", _ended(error), False))
    found = []
    for handler in names:
        state, why = "ok", ""
        if handler in failed:
            kind, why, lacks_a_module = failed[handler]
            state = _STATES.get(kind, "incompatible")
            if state == "broken" and lacks_a_module and _extras(name):
                state, why = "no", f"{why} (one of its extras may: {', '.join(_extras(name))})"
        elif ":" in handler:
            plain = handler.partition(":")[2]
            state, why = "duplicate", f"another distribution has the name {plain!r} too"
        found.append(Finding("handler", handler, f"{name} {version(name)}", state, why))
    return found


def observers() -> list[Finding]:
    """Every registered observer."""
    found = list(_blocked(_OBSERVERS, "observer"))
    for one in registrations(_OBSERVERS):
        if plugin_refusal(one.distribution) is None:
            state, why = "ok", ""
            try:
                run_child(_IMPORT_OBSERVER, one.entry.value)
            except ChildError as error:
                state, why = "broken", _ended(error)
            detail = f"{one.distribution} {one.version}"
            found.append(Finding("observer", one.entry.name, detail, state, why))
    return found


def libraries() -> list[Finding]:
    """What the distributions build on, in the versions that are installed."""
    names = {requirement.name for name in _ours() for requirement in _requirements(name)}
    found = []
    for name in sorted(names - _ours(), key=str.lower):
        try:
            found.append(Finding("library", name, version(name)))
        except PackageNotFoundError:
            found.append(Finding("library", name, "", "no", "not installed"))
    return found


def _ours() -> set[str]:
    names = {one.distribution for group in (GROUP, _OBSERVERS) for one in registrations(group)}
    return names | {"runinference", "runinference-cli"}


def _blocked(group: str, kind: str) -> Iterator[Finding]:
    for one in registrations(group):
        refusal = plugin_refusal(one.distribution)
        if refusal is not None:
            detail = f"{one.distribution} {one.version}"
            yield Finding(kind, one.entry.name, detail, "blocked", refusal)


def _requirements(name: str) -> Iterator[Requirement]:
    for text in distribution(name).requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _extras(name: str) -> list[str]:
    return distribution(name).metadata.get_all("Provides-Extra") or []


def _unmet(name: str) -> tuple[str, str]:
    """The state of a distribution, and why it is not ok."""
    for requirement in _requirements(name):
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            return "incomplete", (
                f"{requirement} is not installed; run: pip install --upgrade {name}"
            )
        if not requirement.specifier.contains(installed, prereleases=True):
            gate = canonicalize_name(requirement.name) == "runinference"
            return "incompatible" if gate else "incomplete", (
                f"it needs {requirement}, but {installed} is installed; "
                f"run: pip install --upgrade {name}"
            )
    return "ok", ""


def _ended(error: ChildError) -> str:
    return f"importing it failed: {error}. Install what it lacks, upgrade it, or uninstall it"

"""What a pipeline was built with, told by each worker that has something else.

A step is carried to the workers as bytes (:class:`Carried`), beside the versions of what it needs.
Those are looked at before the bytes are, so that a plugin that is absent there is one error that
names it, not a traceback from the middle of a pickle.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from runinference._version import __version__
from runinference.entry_points import registrations
from runinference.errors import WorkerEnvironmentError
from runinference.registry import GROUP

__all__ = ["Built", "Carried", "Mismatch", "built_with", "compare"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_CORE = "runinference"
# Beam's runners and workers compare their own versions.
_NOT_COMPARED = {_CORE, "apache-beam"}
_OF_NO_PLUGIN = {_CORE, "apache_beam", "__main__"}


class Built(NamedTuple):
    """A distribution that the pipeline was built with.

    Attributes:
        name: of the distribution, as tools agree to spell it.
        version: of it, where the pipeline was built.
        is_exact: whether any other version is another one; else those are that differ in the first
            two numbers.
    """

    name: str
    version: str
    is_exact: bool

    def pin(self) -> str:
        """What to give to pip; without the build of a version (``+cu126``), which may differ."""
        return f"{self.name}=={_public(self.version)}"


# What was compared with this process, or read in it, and need not be once more.
_seen: set[tuple[Built, ...]] = set()


def built_with(handlers: Iterable[Any]) -> tuple[Built, ...]:
    """The core, the distributions that the handlers' classes come from, and what those require.

    Of the last, those that are installed. A class of the main program, or of a module that belongs
    to no distribution, adds nothing.
    """
    packages = {_package(kind.__module__) for handler in handlers for kind in type(handler).__mro__}
    exact = {_CORE: __version__}
    others: dict[str, str] = {}
    for distribution in _distributions_of(packages - sys.stdlib_module_names - _OF_NO_PLUGIN):
        exact[canonicalize_name(distribution.name)] = distribution.version
        others.update(_required(distribution))
    built = (
        *(Built(name, version, True) for name, version in exact.items()),
        *(Built(name, version, False) for name, version in others.items() if name not in exact),
    )
    _seen.add(built)
    return built


class Mismatch(NamedTuple):
    """A distribution that is absent here, or of another version.

    Attributes:
        built: what the pipeline was built with.
        here: the version here; None where it is not installed.
    """

    built: Built
    here: str | None

    @property
    def is_slight(self) -> bool:
        """Whether it is another release of the same version: a warning, not an error."""
        here, there = self.here, self.built.version
        return (
            here is not None and not self.built.is_exact and _first_two(here) == _first_two(there)
        )

    def __str__(self) -> str:
        is_here = "is not installed here" if self.here is None else f"{self.here} is installed here"
        return f"{self.built.name} {is_here}, the pipeline was built with {self.built.version}"


def compare(built: Iterable[Built]) -> list[Mismatch]:
    """What is absent here, or of another version; first what is absent."""
    found = [Mismatch(one, _installed_version(one.name)) for one in built]
    differing = [m for m in found if m.here is None or _public(m.here) != _public(m.built.version)]
    return sorted(differing, key=lambda mismatch: mismatch.here is not None)


class Carried(Generic[T]):
    """An object on its way to a worker.

    Args:
        value: what is carried.
        built: see :func:`built_with`.
        on_mismatch: ``"warn"`` logs what differs, and goes on.
    """

    def __init__(
        self, value: T, built: tuple[Built, ...], on_mismatch: Literal["fail", "warn"] = "fail"
    ) -> None:
        from apache_beam.internal import pickler  # the pickler that carries everything else

        self._bytes: bytes = pickler.dumps(value)
        self._python = platform.python_version()
        self._built = built
        self._on_mismatch = on_mismatch

    def unpack(self) -> T:
        """A copy of the object.

        Raises:
            WorkerEnvironmentError: this process lacks something that the pipeline was built with,
                or has another version of it.
        """
        from apache_beam.internal import pickler

        self._check()
        try:
            value: T = pickler.loads(self._bytes)
        except Exception as error:
            pins = ", ".join(one.pin() for one in self._built)
            raise WorkerEnvironmentError(
                f"{_where()} cannot unpickle the step: {type(error).__name__}: {error}. Install "
                "there what the program imports that builds the pipeline, in the same versions: "
                f"Python is {platform.python_version()} here, and the pipeline was built with "
                f"{self._python}, {pins}"
            ) from error
        return value

    def _check(self) -> None:
        if self._built in _seen:
            return
        found = compare(self._built)
        grave = [mismatch for mismatch in found if not mismatch.is_slight]
        if grave and self._on_mismatch == "fail":
            # what is absent would only fail later
            way_out = any(mismatch.here is not None for mismatch in grave)
            raise WorkerEnvironmentError(
                f"{_where()} is not what the pipeline was built with: "
                f"{'; '.join(map(str, grave))}. Install there, in its image or requirements: "
                f"pip install {' '.join(mismatch.built.pin() for mismatch in grave)}"
                + ('; Execution(on_version_mismatch="warn") only logs it' if way_out else "")
            )
        for mismatch in found:
            _log.warning("%s: %s", _where(), mismatch)
        _seen.add(self._built)


def _where() -> str:
    return f"this worker ({sys.executable})"


def _distributions_of(packages: set[str]) -> Iterator[Any]:  # of Distribution
    """Found by their handlers' entry points, or by the package's name: a search through the files
    of everything that is installed would take a second."""
    registered = registrations(GROUP) if packages else []
    by_package = {_package(one.entry.value): one.entry.dist for one in registered}
    for package in sorted(packages):
        if package in by_package:
            yield by_package[package]
        else:
            with contextlib.suppress(importlib_metadata.PackageNotFoundError):
                yield importlib_metadata.distribution(package)


def _package(module: str) -> str:
    return module.partition(":")[0].partition(".")[0]


def _required(distribution: Any) -> Iterator[tuple[str, str]]:
    """What it requires without extras, as far as it is installed, with the versions."""
    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        name = canonicalize_name(requirement.name)
        is_asked = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        version = _installed_version(name) if is_asked and name not in _NOT_COMPARED else None
        if version is not None:
            yield name, version


def _installed_version(name: str) -> str | None:
    if name == _CORE:
        return __version__
    try:
        version: str | None = importlib_metadata.version(name)
    except importlib_metadata.PackageNotFoundError:
        return None
    return version


def _public(version: str) -> str:
    try:
        return Version(version).public
    except InvalidVersion:
        return version


def _first_two(version: str) -> object:
    try:
        return Version(version).release[:2]
    except InvalidVersion:
        return version

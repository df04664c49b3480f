"""List the entry points of a group, whatever state the installed distributions are in."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import sys
from collections.abc import Iterator, Sequence

import importlib_metadata
from packaging.utils import canonicalize_name

__all__ = ["Registration", "registrations"]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Registration:
    """An entry point with what is known of its distribution; nothing of it has been imported.

    Attributes:
        entry: its name, and ``module:attribute``.
        distribution: what ``pip`` calls the distribution, in the spelling that all tools agree on.
        version: of the distribution.
        requires: what the distribution requires, as in its metadata.
    """

    entry: importlib_metadata.EntryPoint
    distribution: str
    version: str
    requires: tuple[str, ...]


def registrations(group: str) -> Sequence[Registration]:
    """The entry points of a group; one whose distribution has lost its metadata is left out."""
    return _registrations(group, tuple(map(_changed, sys.path)))


def _changed(path: str) -> tuple[str, int]:
    """A folder of modules, and when something was last installed into it or taken away."""
    try:
        return path, os.stat(path or os.curdir).st_mtime_ns
    except OSError:
        return path, 0


# To read what a hundred distributions have takes 8 ms, and a run looks four times.
@functools.lru_cache(maxsize=8)
def _registrations(group: str, paths: tuple[tuple[str, int], ...]) -> Sequence[Registration]:
    found = []
    told: dict[int, tuple[str, str, tuple[str, ...]]] = {}  # each look parses the metadata anew
    for entry in _entries(group, paths):
        dist = entry.dist
        if dist is None:
            continue
        try:
            if id(dist) not in told:
                told[id(dist)] = dist.name, dist.version, tuple(dist.requires or ())
            name, version, requires = told[id(dist)]
        except Exception as error:  # noqa: BLE001 - a damaged installation harms nobody else
            _log.warning("entry point %r (%s) is left out: %r", entry.name, entry.value, error)
            continue
        found.append(Registration(entry, canonicalize_name(name), version, requires))
    return tuple(found)


def _entries(
    group: str, paths: tuple[tuple[str, int], ...]
) -> Sequence[importlib_metadata.EntryPoint]:
    try:
        return list(_all_entries(paths).select(group=group))
    except Exception:  # noqa: BLE001 - one file that cannot be parsed hides all others
        return list(_readable_entries(group))


@functools.lru_cache(maxsize=1)
def _all_entries(paths: tuple[tuple[str, int], ...]) -> importlib_metadata.EntryPoints:
    return importlib_metadata.entry_points()


def _readable_entries(group: str) -> Iterator[importlib_metadata.EntryPoint]:
    for dist in importlib_metadata.distributions():
        try:
            yield from dist.entry_points.select(group=group)
        except Exception as error:  # noqa: BLE001 - nor does one of its files
            _log.warning("the entry points of %s cannot be read: %r", dist, error)

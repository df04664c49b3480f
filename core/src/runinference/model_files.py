"""Model files that come and change: which is the newest, and which ones were refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

__all__ = ["Refusals", "Update", "newest", "stamp_of"]

# Seconds after which a file that was refused is looked at again.
_LOOK_AGAIN = 10.0


class Update(NamedTuple):
    """A model file, and what tells one content of it from the next."""

    path: str
    stamp: str | None


def newest(pattern: str) -> Update | None:
    """The file that was changed last, whatever order they are listed in; None where there is none.

    Raises:
        OSError: the folder cannot be listed.
    """
    [match] = FileSystems.match([pattern])
    files = [file for file in match.metadata_list if file.size_in_bytes]
    if not files:
        return None
    last = max(files, key=lambda file: (file.last_updated_in_seconds, file.path))
    return Update(last.path, f"{last.last_updated_in_seconds}:{last.size_in_bytes}")


def stamp_of(path: str) -> str | None:
    """What tells this content of a file from the next; None where there is no file."""
    try:
        found = newest(path)
    except Exception:  # noqa: BLE001 - as if it were not there
        return None
    return None if found is None else found.stamp


class Refusals:
    """Models that could not be used; each may be tried again when its file has changed.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: dict[tuple[str, Hashable], tuple[str | None, float]] = {}

    def add(self, path: str, stamp: str | None, by: Hashable = None) -> None:
        """Take note.

        Args:
            path: of the file.
            stamp: of its content before it was read.
            by: who could not use it, where it may be of use for others.
        """
        self._refused[path, by] = stamp, self._clock()

    def has(self, update: Update, by: Hashable = None) -> bool:
        """Whether it was refused, and is what it was then."""
        if (update.path, by) not in self._refused:
            return False
        stamp, since = self._refused[update.path, by]
        if update.stamp is not None:
            return update.stamp == stamp
        # nobody told that the file has changed: look, but not for every batch
        if self._clock() < since + _LOOK_AGAIN:
            return True
        self.add(update.path, stamp, by)
        return stamp_of(update.path) == stamp

    def clear(self) -> None:
        """Forget them all."""
        self._refused.clear()

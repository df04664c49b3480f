"""The output folder: filled beside its place, and put there when everything has succeeded.

Results are written into ``.<name>.partial-<random>`` in the folder that will hold the output, so
that putting them into place is a rename; results that they replace are renamed into it first. What
a killed run leaves there is removed by the next one, which puts back what was to be replaced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from runinference_cli.failures import RunFailedError, UsageError
from runinference_cli.stopping import unstoppable

__all__ = ["SUCCESS", "Staging", "staging"]

SUCCESS = "_SUCCESS"
_RESULT = re.compile(r"part-\d{5,}-of-\d{5,}\.\w+|_SUCCESS")
_REMOVED = ".removed"


class Staging:
    """A folder of this run alone, beside the output.

    Attributes:
        written: a folder for the results.
        manifest: a folder where the pipeline says which files make them up.
    """

    def __init__(self, output: Path, folder: Path, option: str, *, overwrite: bool) -> None:
        self._output = output
        self._option = option
        self._overwrite = overwrite
        self._folder = folder
        self.written = folder / "written"
        self.written.mkdir()
        self.manifest = folder / "manifest"
        self.manifest.mkdir()

    def publish(self, files: Sequence[str], suffix: str) -> None:
        """Put these of the written files into place, in this order; no signal stops it halfway.

        Raises:
            UsageError: something has been put there meanwhile.
            OSError: names the file or folder.
        """
        unstoppable()
        results = self._folder / "results"
        results.mkdir()
        for number, name in enumerate(files):
            final = f"part-{number:05d}-of-{len(files):05d}{suffix}"
            (self.written / name).rename(results / final)
        (results / SUCCESS).touch()
        replaced = self._folder / "replaced"
        if self._overwrite and self._output.exists():
            _check_replaceable(self._option, str(self._output), sorted(os.listdir(self._output)))
            self._output.rename(replaced)
        try:
            results.rename(self._output)
        except OSError as error:
            if replaced.exists():
                replaced.rename(self._output)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise UsageError(
                    f"{self._option} {self._output}: something was put there during the run: run "
                    "again with another folder, or say --overwrite"
                ) from error
            raise


@contextlib.contextmanager
def staging(output: str, *, overwrite: bool, option: str = "--output") -> Iterator[Staging]:
    """A staging folder for an output folder; it is gone afterwards, whatever happens.

    Args:
        output: the folder.
        overwrite: whether results in it may be replaced.
        option: that names it, for the errors.

    Raises:
        UsageError: the output cannot be put there, or holds something already.
        RunFailedError: the staging folder was removed by somebody else.
        OSError: no permission, or no space.
    """
    if "://" in output:
        raise UsageError(
            f"{option} {output}: results go to a local or mounted folder, where they can be put "
            "into place in one step; copy them from there"
        )
    place = Path(os.path.realpath(output))
    _clean_up(place)
    _check(option, output, place, overwrite)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{option} {output}: {place.parent} is a file, not a folder") from error
    folder = place.parent / f"{_prefix(place)}{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(mode=0o700)
        with _locked(folder), _noticing_removal(folder):
            yield Staging(place, folder, option, overwrite=overwrite)
    finally:
        try:
            unstoppable()
        finally:
            _remove(folder)


@contextlib.contextmanager
def _noticing_removal(folder: Path) -> Iterator[None]:
    """Say of an error that the folder is gone, where it is."""
    try:
        yield
    except Exception as error:
        if folder.exists():
            raise
        raise RunFailedError(
            f"the folder {str(folder)!r}, which holds results until they are complete, was removed "
            "during the run: run again"
        ) from error


def _check(option: str, output: str, place: Path, overwrite: bool) -> None:
    if not place.exists():
        return
    if not place.is_dir():
        raise UsageError(f"{option} {output}: this is a file; name a folder")
    if place.is_mount():
        raise UsageError(
            f"{option} {output}: a mounted disk's own folder cannot be replaced in one step: name "
            "a folder in it"
        )
    inside = sorted(entry.name for entry in place.iterdir())
    if inside and not overwrite:
        raise UsageError(
            f"{option} {output}: the folder is not empty ({_some(inside)}): name another one, or "
            "say --overwrite to replace the results in it"
        )
    _check_replaceable(option, output, inside)


def _check_replaceable(option: str, output: str, inside: Sequence[str]) -> None:
    foreign = [name for name in inside if not _RESULT.fullmatch(name)]
    if foreign:
        raise UsageError(
            f"{option} {output}: --overwrite replaces the results of a run, but the folder holds "
            f"other files ({_some(foreign)}): name another folder"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _prefix(place: Path) -> str:
    return f".{place.name}.partial-"


def _clean_up(place: Path) -> None:
    """Remove what killed runs left, and put back results that one was about to replace."""
    for left in place.parent.glob(f"{glob.escape(_prefix(place))}*"):
        # one that is locked belongs to a run that goes on; what cannot be removed is no obstacle
        with contextlib.suppress(OSError), _locked(left):
            is_replacing = (left / "results").exists() and left.suffix != _REMOVED
            if is_replacing and (left / "replaced").exists() and not place.exists():
                (left / "replaced").rename(place)
            _remove(left)


def _remove(folder: Path) -> None:
    """Remove a staging folder and whatever is in it.

    It is renamed first: threads of a run that was stopped find no place for another file, and what
    is left where this is killed is not taken for results to put back.
    """
    if folder.suffix != _REMOVED:
        with contextlib.suppress(OSError):
            folder = folder.rename(f"{folder}{_REMOVED}")
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Hold the folder's lock, which the system releases when the process ends, however it does.

    Raises:
        BlockingIOError: another process holds it.
    """
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock

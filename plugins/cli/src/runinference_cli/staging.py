"""The output folder: filled beside its place, and put there when everything has succeeded.

Results are written into ``.<name>.partial-<random>`` in the folder that will hold the output, so
that putting them into place is a rename. What a killed run leaves there is removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from runinference_cli.failures import UsageError

__all__ = ["SUCCESS", "Staging", "staging"]

SUCCESS = "_SUCCESS"
_RESULT = re.compile(r"part-\d{5,}-of-\d{5,}\.\w+|_SUCCESS")


class Staging:
    """A folder of this run alone, beside the output.

    Attributes:
        written: a folder for the results.
        manifest: a folder where the pipeline says which files make them up.
    """

    def __init__(self, output: Path, folder: Path, *, overwrite: bool) -> None:
        self._output = output
        self._overwrite = overwrite
        self._folder = folder
        self.written = folder / "written"
        self.written.mkdir()
        self.manifest = folder / "manifest"
        self.manifest.mkdir()

    def publish(self, files: Sequence[str], suffix: str) -> None:
        """Put these of the written files into place, in this order.

        Raises:
            UsageError: another run has put results there meanwhile.
            OSError: names the file or folder.
        """
        results = self._folder / "results"
        results.mkdir()
        for number, name in enumerate(files):
            final = f"part-{number:05d}-of-{len(files):05d}{suffix}"
            (self.written / name).rename(results / final)
        (results / SUCCESS).touch()
        replaced = self._folder / "replaced"
        if self._overwrite and self._output.exists():
            self._output.rename(replaced)
        try:
            results.rename(self._output)
        except OSError as error:
            if replaced.exists():
                replaced.rename(self._output)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise UsageError(
                    f"--output {self._output}: something was put there during the run: run again "
                    "with another folder, or say --overwrite"
                ) from error
            raise


@contextlib.contextmanager
def staging(output: str, *, overwrite: bool) -> Iterator[Staging]:
    """A staging folder for an output folder; it is gone afterwards, whatever happens.

    Raises:
        UsageError: the output cannot be put there, or holds something already.
        OSError: no permission, or no space.
    """
    if "://" in output:
        raise UsageError(
            f"--output {output}: results go to a local or mounted folder, where they can be put "
            "into place in one step; copy them from there"
        )
    place = Path(os.path.realpath(output))
    _check(output, place, overwrite)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"--output {output}: {place.parent} is a file, not a folder") from error
    _clean_up(place)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(place), dir=place.parent))
    try:
        with _locked(folder):
            yield Staging(place, folder, overwrite=overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(output: str, place: Path, overwrite: bool) -> None:
    if not place.exists():
        return
    if not place.is_dir():
        raise UsageError(f"--output {output}: this is a file; name a folder")
    if place.is_mount():
        raise UsageError(
            f"--output {output}: a mounted disk's own folder cannot be replaced in one step: name "
            "a folder in it"
        )
    inside = sorted(entry.name for entry in place.iterdir())
    if inside and not overwrite:
        raise UsageError(
            f"--output {output}: the folder is not empty ({_some(inside)}): name another one, or "
            "say --overwrite to replace the results in it"
        )
    foreign = [name for name in inside if not _RESULT.fullmatch(name)]
    if foreign:
        raise UsageError(
            f"--output {output}: --overwrite replaces the results of a run, but the folder holds "
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
            replaced = left / "replaced"
            if replaced.exists() and not place.exists():
                replaced.rename(place)
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Hold the folder's lock, which the system releases when the process ends, however it does.

    Raises:
        BlockingIOError: another process holds it.
    """
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock

"""The report of a run as an observer, and how it gets to its file."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Literal

from runinference_cli.failures import UsageError, original
from runinference_cli.run_report.collected import Collected
from runinference_cli.run_report.facts import Run, command_line, machine, versions
from runinference_cli.run_report.page import GENERATOR, page

__all__ = ["RunReport", "check_place", "write_page"]

_UNHEARD = (
    "No batch was heard of. The model ran in other processes or on other machines, where a report "
    "of this process does not hear of it, or there was nothing to predict."
)
_log = logging.getLogger(__name__)


class RunReport(Collected):
    """A page about what happens while pipelines run in this process, as one HTML file::

        with observing(RunReport("report.html")):
            pipeline.run().wait_until_finish()

    The file is written when the block ends, in one step; also when it ends with an error, which the
    page then begins with. It loads nothing from elsewhere. Memory does not grow with the batches.

    It hears of the workers of this process alone: of the embedded runner, not of its
    ``multi_processing`` mode or of a cluster.

    Args:
        path: of the file, ``*.html``; an earlier report is replaced, anything else is not.

    Raises:
        UsageError: nothing can be written there; before the block begins.
        OSError: of the write; logged instead where the block has raised an error of its own.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = check_place(os.fspath(path), "RunReport")
        self._began = datetime.datetime.now().astimezone()

    def __enter__(self) -> RunReport:
        """Begin to measure."""
        self._began = datetime.datetime.now().astimezone()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Write the report."""
        self.stop()
        outcome: Literal["done", "failed", "interrupted"] = "done"
        message = ""
        if isinstance(error, KeyboardInterrupt):
            outcome = "interrupted"
        elif error is not None:
            first = original(error)
            outcome, message = "failed", f"{type(first).__name__}: {first}"
        run = Run(
            self._began,
            "Predicted",
            outcome,
            message,
            facts=[
                ("Program", command_line(sys.argv)),
                ("Handler", ", ".join(self.handlers)),
                ("Machine", machine()),
                ("Versions", versions()),
            ],
            unheard="" if self.sizes.count or error is not None else _UNHEARD,
        )
        try:
            write_page(self.path, page(run, self))
        except OSError:
            if error is None:
                raise
            _log.exception("the report of a run that failed cannot be written")
        return False


def check_place(path: str, named: str) -> Path:
    """A place for a report, whose folder there is afterwards.

    Args:
        path: of the file.
        named: who asks for it, for the errors.

    Raises:
        UsageError: no report can be put there.
    """
    told = f"{named} {path}"
    if "://" in path:
        raise UsageError(f"{told}: a report goes to a local or mounted folder; copy it from there")
    place = Path(os.path.abspath(path))
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{told}: a report is an HTML file: give it a name that ends in .html")
    if place.is_dir():
        raise UsageError(f"{told}: this is a folder; name a file in it")
    if place.exists() and GENERATOR not in place.read_text(errors="replace")[:1000]:
        raise UsageError(f"{told}: there is another file that is no report of a run: name another")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # a folder may refuse files for more reasons than its permissions tell
        with tempfile.TemporaryFile(dir=place.parent):
            pass
    except OSError as error:
        raise UsageError(
            f"{told}: no file can be written in {str(place.parent)!r}: {error.strerror}"
        ) from error
    return place


def write_page(place: Path, text: str) -> None:
    """Put a page into its place in one step: it is there whole, or not at all.

    Raises:
        OSError: names the file.
    """
    descriptor, name = tempfile.mkstemp(".partial", f".{place.name}.", place.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # what mkstemp makes is the user's alone
        os.replace(name, place)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, os.strerror(error.errno), str(place)) from error
        raise

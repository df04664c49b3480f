"""What libraries log and warn of, kept from the user unless asked for."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

__all__ = ["logging_to_stderr"]


@contextlib.contextmanager
def logging_to_stderr(level: str | None) -> Iterator[None]:
    """Within the block, log messages go to standard error: all from ``level`` on, or few.

    Without a level, warnings of models and of this project are shown, but neither what Beam says
    about itself (it reports a failure several times over, with tracebacks) nor deprecations.

    To be entered before Beam is imported: the import logs, and takes a root handler into use where
    there is none.
    """
    root = logging.getLogger()
    before = root.handlers, root.level
    handler = _StandardError()
    # its own too: a worker process of Beam's sets the root's
    handler.setLevel(logging.WARNING if level is None else level.upper())
    handler.setFormatter(_Formatter(is_short=level is None))
    if level is None:
        handler.addFilter(_is_for_users)
    root.handlers = [handler]
    root.setLevel(logging.WARNING if level is None else level.upper())
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            if level is None:
                for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                    warnings.simplefilter("ignore", category)
            yield
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = before


def _is_for_users(record: logging.LogRecord) -> bool:
    # Beam's modules log to the root logger, too
    return not (record.name == "root" or record.name.startswith(("apache_beam", "grpc")))


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the time: a display takes it over while it is shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # as logging's own last resort does
        return sys.stderr


class _Formatter(logging.Formatter):
    def __init__(self, *, is_short: bool) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._is_short = is_short

    def format(self, record: logging.LogRecord) -> str:
        """One line for a user; everything for who asked for a level."""
        if not self._is_short:
            return super().format(record)
        message = record.getMessage()
        if record.name == "py.warnings":
            # "file:line: Category: message\n  source line"
            message = message.split(": ", 2)[-1].rpartition("\n  ")[0] or message
        return f"{record.levelname.lower()}: {' '.join(message.split())}"

"""What a user sees of a run while it goes on: a display on a terminal, else lines now and then."""

from __future__ import annotations

import collections
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runinference_cli.amounts import counted, duration
from runinference_cli.counts import Counts

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Pace", "live", "state"]

_DRAWN_PER_SECOND = 8
_WINDOW_S = 10.0
_LINE_S = 30.0


class Pace:
    """How fast rows come, of late.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.start = clock()
        self._seen: collections.deque[tuple[float, int]] = collections.deque()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self.start

    def rate(self, done: int) -> float:
        """Rows per second, over the last seconds; 0 where none came."""
        now = self._clock()
        if not self._seen or done != self._seen[-1][1]:
            self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (done - before) / (now - since) if now > since else 0.0


@contextlib.contextmanager
def live(counts: Counts, total: int | None, *, is_heard: bool = True) -> Iterator[None]:
    """Show the counts on standard error while the block runs.

    Args:
        counts: of this process.
        total: rows to be scored, where that is known.
        is_heard: whether the model runs in this process, which alone counts.
    """
    pace = Pace()
    if sys.stderr.isatty():
        with _display(counts, total, pace, is_heard=is_heard):
            yield
        return
    done = threading.Event()

    def tell() -> None:
        while not done.wait(_LINE_S):
            line = ", ".join(state(counts, total, pace)) if is_heard else _unheard(pace)
            with contextlib.suppress(OSError, ValueError):  # who read it has gone
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def state(counts: Counts, total: int | None, pace: Pace) -> list[str]:
    """Rows of all, the time left, rows per second, calls and failures, each as a few words."""
    failed, done = counts.failures.total(), counts.done
    if not counts.batches and not done:
        return ["loading the model", _clock(pace.elapsed)]
    rate = pace.rate(done)
    of_all, left = counted(done, "row"), f"{_clock(pace.elapsed)} so far"
    if total:
        of_all = f"{done:,} of {counted(total, 'row')} ({done / total:.0%})"
        if rate:
            left = f"{_clock(max(total - done, 0) / rate)} left"
    told = [of_all, left, f"{rate:,.0f} rows/s", counted(counts.batches, "batch")]
    if counts.batches:
        told[-1] += f", the last of {counted(counts.last_size, 'row')}"
    if failed:
        told.append(f"{failed:,} failed")
    return told


def _clock(seconds: float) -> str:
    return duration(float(max(round(seconds), 1)))


def _unheard(pace: Pace) -> str:
    return f"scoring in other processes, {_clock(pace.elapsed)} so far"


@contextlib.contextmanager
def _display(counts: Counts, total: int | None, pace: Pace, *, is_heard: bool) -> Iterator[None]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True)

    def line(text: str, style: str = "") -> Text:
        return Text(text, style, no_wrap=True, overflow="ellipsis")

    def draw() -> RenderableType:
        if not is_heard:
            return line(_unheard(pace))
        of_all, left, *rest = state(counts, total, pace)
        done = counts.done
        bar = ProgressBar(
            total=total or None,
            completed=done,
            width=max(10, console.width // 5),
            pulse=not total or not done,
            animation_time=pace.elapsed,
        )
        first = Table.grid(padding=(0, 1, 0, 0))
        if rest:
            first.add_row(line("scoring"), bar, line(of_all), line(left))
        else:
            first.add_row(line(of_all), bar, line(left))
        lines: list[RenderableType] = [first, line(", ".join(rest))] if rest else [first]
        if counts.model_id:
            lines.append(line(_tail(f"model {counts.model_id}", console.width), "dim"))
        return Group(*lines)

    with Live(
        get_renderable=draw,
        console=console,
        refresh_per_second=_DRAWN_PER_SECOND,
        transient=True,
        redirect_stdout=False,
    ):
        yield


def _tail(text: str, width: int) -> str:
    """A text of at most this width; of one that is longer, the end, which names the model."""
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"

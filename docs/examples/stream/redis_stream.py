"""A Redis stream as a source and as a sink, at least once.

The source reads as a consumer of a group, and acknowledges messages when the runner has committed
the bundle that they were in. What a consumer has read and never acknowledged is read again: its own
by a consumer that starts under the same name, and that of any other once it is idle for long
enough.

Source, model and sink have to be one fused stage: no GroupByKey, Reshuffle or state between them,
or messages are acknowledged while their predictions are still on their way.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import redis
from apache_beam.io.iobase import RestrictionTracker
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

__all__ = ["Message", "ReadMessages", "WriteMessages"]

Message = tuple[str, dict[str, str]]
"""The id that Redis gave a message, and its fields."""

_EVERYTHING = sys.maxsize


@dataclasses.dataclass(eq=False)
class ReadMessages(beam.PTransform):
    """Messages of a stream, each with its id and at the time when it was written.

    Args:
        url: of the server, as in ``redis://127.0.0.1:6379``.
        stream: the stream's name.
        group: the consumer group, which is made if there is none and then begins with the first
            message of the stream.
        consumer: this reader's name, which no other running reader has.
        most: messages of one bundle.
        wait_s: how long a bundle waits for its first message.
        claim_after_s: how long another consumer may take for a message before this one takes it
            over; longer than any bundle takes.
        stop_when_idle_s: ends the stream when there was no message for so long; None never does.
    """

    url: str
    stream: str
    group: str = "runinference"
    consumer: str = "reader"
    most: int = 100
    wait_s: float = 1.0
    claim_after_s: float = 30.0
    stop_when_idle_s: float | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, start: Any) -> beam.PCollection[Message]:
        """One element, from which everything is read."""
        one = start | "Start" >> beam.Create([None], reshuffle=False)
        return one | "Read" >> beam.ParDo(_Read(self)).with_output_types(Message)


class _Reads(RestrictionProvider):
    """Reads are counted, and there is no last one."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, _EVERYTHING)

    def create_tracker(self, restriction: OffsetRange) -> RestrictionTracker:
        return _Unbounded(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return 1


class _Unbounded(OffsetRestrictionTracker):
    def is_bounded(self) -> bool:
        return False

    def try_split(self, fraction_of_remainder: float) -> Any:
        # a reader is never divided; it only says itself that the rest is for later
        return super().try_split(0) if fraction_of_remainder == 0 else None


_READS = beam.DoFn.RestrictionParam(_Reads())
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


class _Read(beam.DoFn):
    def __init__(self, told: ReadMessages) -> None:
        self._told = told

    def setup(self) -> None:
        told = self._told
        self._redis = redis.Redis.from_url(told.url, decode_responses=True)
        try:
            self._redis.xgroup_create(told.stream, told.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):  # there is one already
                raise
        self._from = "0"  # what this consumer read in its last life and did not acknowledge
        self._claim_at = time.monotonic()
        self._idle_since = time.monotonic()

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        # before the tracker: behind it, Beam 2.77 would give the tracker two values
        bundle_finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = _READS,
        watermark: Any = _WATERMARK,
    ) -> Iterator[TimestampedValue[Message]]:
        """One read, which is one bundle; the rest is for the next one."""
        told = self._told
        if not tracker.try_claim(tracker.current_restriction().start):
            return
        now_ms = _milliseconds(self._redis.time())
        messages = self._messages()
        if messages:
            ids = [id_ for id_, _ in messages]
            bundle_finalizer.register(lambda: self._redis.xack(told.stream, told.group, *ids))
            self._idle_since = time.monotonic()
            for id_, fields in messages:
                if fields:  # none where it was deleted from the stream meanwhile
                    yield TimestampedValue((id_, fields), _time_of(id_))
            now_ms = self._oldest_unanswered_ms(ids[0])
        elif self._is_over():
            tracker.try_claim(_EVERYTHING - 1)
            return
        held = Timestamp(micros=now_ms * 1000)
        if watermark.current_watermark() is None or held > watermark.current_watermark():
            watermark.set_watermark(held)
        tracker.defer_remainder()

    def _messages(self) -> list[Message]:
        told = self._told
        if self._from != ">":
            [(_, own)] = self._read(None)
            if own:
                self._from = own[-1][0]
                return own
            self._from = ">"
        if time.monotonic() >= self._claim_at:
            idle_ms = int(told.claim_after_s * 1000)
            claimed = self._redis.xautoclaim(
                told.stream, told.group, told.consumer, idle_ms, count=told.most
            )[1]
            if claimed:
                return claimed
            self._claim_at = time.monotonic() + told.claim_after_s
        # waits in the server, so that a stream without messages makes few bundles
        found = self._read(max(int(told.wait_s * 1000), 1))
        return found[0][1] if found else []

    def _read(self, block_ms: int | None) -> Any:
        told = self._told
        streams = {told.stream: self._from}
        return self._redis.xreadgroup(told.group, told.consumer, streams, told.most, block_ms)

    def _oldest_unanswered_ms(self, read: str) -> int:
        """The event time before which nothing comes any more, even if a reader dies."""
        pending = self._redis.xpending(self._told.stream, self._told.group)
        return _milliseconds_of(pending["min"] or read)

    def _is_over(self) -> bool:
        limit = self._told.stop_when_idle_s
        return limit is not None and time.monotonic() - self._idle_since >= limit


class WriteMessages(beam.DoFn):
    """Writes dicts as messages of a stream, all of a bundle before it ends.

    Args:
        url: of the server.
        stream: the stream's name.
    """

    def __init__(self, url: str, stream: str) -> None:
        self._url = url
        self._stream = stream

    def setup(self) -> None:
        """Connect."""
        self._redis = redis.Redis.from_url(self._url)

    def start_bundle(self) -> None:
        """Begin to collect."""
        self._together = self._redis.pipeline(transaction=False)

    def process(self, element: dict[str, Any]) -> Iterable[None]:
        """Take one."""
        self._together.xadd(self._stream, element)
        return ()

    def finish_bundle(self) -> None:
        """Write them; an error fails the bundle, and its messages are read again."""
        self._together.execute()


def _milliseconds(time_: tuple[int, int]) -> int:
    seconds, micros = time_
    return seconds * 1000 + micros // 1000


def _milliseconds_of(id_: str) -> int:
    return int(id_.partition("-")[0])


def _time_of(id_: str) -> Timestamp:
    return Timestamp(micros=_milliseconds_of(id_) * 1000)

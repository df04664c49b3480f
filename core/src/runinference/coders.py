"""Coders of what runs through the steps, with sizes that cost no pickling to know."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from apache_beam.coders import Coder, FastPrimitivesCoder, registry
from apache_beam.utils import windowed_value

from runinference.results import PredictionResult
from runinference.sizes import num_bytes

__all__ = ["TableCoder", "Tabular", "TimedExample", "UntimedExample", "tabular_type"]

_primitives = FastPrimitivesCoder()


class TimedExample(tuple[Any, int, Any]):
    """An element with its event timestamp in microseconds and its pane, while it is batched."""

    __slots__ = ()


class UntimedExample:
    """The type of an element while it is batched without its time."""


class Tabular:
    """The element type of a PCollection of tables of which nothing else is known."""


class _AnyCoder(Coder):
    """As Beam encodes what it knows nothing of."""

    def encode(self, value: Any) -> bytes:
        encoded: bytes = _primitives.encode(value)
        return encoded

    def decode(self, encoded: bytes) -> Any:
        return _primitives.decode(encoded)

    def estimate_size(self, value: Any) -> int:
        return num_bytes((value,))

    def is_deterministic(self) -> bool:
        return False  # nothing is known of the value


class _TimedExampleCoder(_AnyCoder):
    def encode(self, value: TimedExample) -> bytes:
        example, micros, pane = value
        fields = pane.is_first, pane.is_last, pane.timing, pane.index, pane.nonspeculative_index
        return super().encode((example, micros, fields))

    def decode(self, encoded: bytes) -> TimedExample:
        example, micros, fields = super().decode(encoded)
        return TimedExample((example, micros, windowed_value.PaneInfo(*fields)))

    def estimate_size(self, value: TimedExample) -> int:
        return num_bytes(value[:1])


class _PredictionResultCoder(_AnyCoder):
    def encode(self, value: PredictionResult[Any, Any]) -> bytes:
        return super().encode(tuple(value))

    def decode(self, encoded: bytes) -> PredictionResult[Any, Any]:
        return PredictionResult(*super().decode(encoded))


class TableCoder(Coder):
    """Arrow's IPC stream format."""

    def encode(self, value: pa.Table) -> bytes:
        """The table as an IPC stream."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value)
        encoded: bytes = sink.getvalue().to_pybytes()
        return encoded

    def decode(self, encoded: bytes) -> pa.Table:
        """The table that was encoded."""
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_all()

    def estimate_size(self, value: pa.Table) -> int:
        """The bytes of its columns."""
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        """Equal tables may be cut into record batches differently."""
        return False


class _RecordBatchCoder(TableCoder):
    def encode(self, value: pa.RecordBatch) -> bytes:
        return super().encode(pa.Table.from_batches([value]))

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        table = super().decode(encoded).combine_chunks()
        batches = table.to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


class _TabularCoder(_AnyCoder):
    def encode(self, value: Any) -> bytes:
        if isinstance(value, pa.Table):
            return b"T" + _table.encode(value)
        if isinstance(value, pa.RecordBatch):
            return b"B" + _record_batch.encode(value)
        return b"P" + super().encode(value)

    def decode(self, encoded: bytes) -> Any:
        kind, rest = encoded[:1], encoded[1:]
        if kind == b"P":
            return super().decode(rest)
        return (_table if kind == b"T" else _record_batch).decode(rest)


def tabular_type(element_type: Any) -> Any:
    """The type of scored tables, which is that of the tables where it is known."""
    return element_type if element_type in (pa.Table, pa.RecordBatch) else Tabular


_table, _record_batch = TableCoder(), _RecordBatchCoder()

registry.register_coder(TimedExample, _TimedExampleCoder)
registry.register_coder(UntimedExample, _AnyCoder)
registry.register_coder(PredictionResult, _PredictionResultCoder)
registry.register_coder(pa.Table, TableCoder)
registry.register_coder(pa.RecordBatch, _RecordBatchCoder)
registry.register_coder(Tabular, _TabularCoder)

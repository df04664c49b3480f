"""Between elements that are rows with a schema and batches of their columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.portability.api import schema_pb2
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints import schemas
from apache_beam.typehints.arrow_type_compatibility import arrow_schema_from_beam_schema

from runinference.batch import Positions, TableBatch
from runinference.columns import array_of
from runinference.errors import ConfigurationError, FeatureError
from runinference.failures import FAILED, Failed, Failure
from runinference.gathering import Elements
from runinference.work import Part

__all__ = ["SchemaEdge", "arrow_type", "fields_of"]


def fields_of(element_type: Any) -> dict[str, Any]:
    """The fields of a schema, each with its Python type.

    Raises:
        ConfigurationError: the elements have none.
    """
    try:
        return dict(schemas.named_fields_from_element_type(element_type))
    except TypeError as error:
        raise ConfigurationError(
            f"RunRowInference takes rows with a schema, such as beam.Row or a NamedTuple, but the "
            f"elements are {element_type}: map them to beam.Row, or use RunInference"
        ) from error


def arrow_type(kind: Any) -> pa.DataType | None:
    """The Arrow type of a field's Python type; None where it has none, and values have to tell."""
    field = schemas.schema_field("field", schemas.typing_to_runner_api(kind))
    try:
        return arrow_schema_from_beam_schema(schema_pb2.Schema(fields=[field])).field(0).type
    except (NotImplementedError, ValueError):
        return None


class SchemaEdge:
    """Rows in; out, each row with its prediction.

    Args:
        fields: those that the model may see, with their Arrow types, where they have one.
        features: those that it sees, in its order; None leaves it to the model.
        keep: the fields that stay.
        output: the field of the prediction.
        output_type: of the prediction; None takes what the model gives.
    """

    def __init__(
        self,
        fields: Mapping[str, pa.DataType | None],
        features: tuple[str, ...] | None,
        keep: tuple[str, ...],
        exclude: tuple[str, ...],
        output: str,
        output_type: pa.DataType | None,
    ) -> None:
        self._fields = fields
        self._features = features
        self._keep = keep
        self._exclude = exclude
        self._output = output
        self._output_type = output_type

    def open(self, elements: Elements) -> tuple[TableBatch, None]:
        """The fields of all rows as one table; without those that make no column."""
        rows = [windowed.value for windowed in elements]
        columns = {}
        for name in self._features or self._fields:
            try:
                values = [getattr(row, name) for row in rows]
                columns[name] = pa.array(values, self._fields[name])
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
                if self._features is not None:
                    raise FeatureError(f"field {name!r}: {error}") from error
        table = pa.table(columns)
        return TableBatch(table, self._features, self._exclude, self._output), None

    def emit(
        self,
        elements: Elements,
        batch: TableBatch,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        failures: Sequence[Failed],
    ) -> Iterable[Any]:
        """One row per row that was predicted, in their order, each at its own time."""
        for failed in failures:
            for position in failed.positions:
                windowed = elements[position]
                failure = Failure(
                    windowed.value, None, failed.stage, *failed.reason, failed.model_id
                )
                yield TaggedOutput(FAILED, windowed.with_value(failure))
        if not parts:
            return
        predictions = batch.merge((part.positions, part.predictions) for part in parts)
        left: Positions = range(len(elements))
        if failures:
            left = sorted(position for part in parts for position in part.positions)
        for position, prediction in zip(left, self._values(predictions), strict=True):
            windowed = elements[position]
            fields = {name: getattr(windowed.value, name) for name in self._keep}
            yield windowed.with_value(beam.Row(**fields, **{self._output: prediction}))

    def sizes(self, elements: Elements) -> Iterable[int]:
        """See :class:`runinference.worker.Edge`."""
        return itertools.repeat(1, len(elements))

    def locate(self, elements: Elements, position: int) -> str:
        """See :class:`runinference.worker.Edge`."""
        return f"{elements[position].value!r:.200}"

    def _values(self, predictions: pa.Table) -> list[Any]:
        """Each row's prediction; of several leaves, a dict."""
        names = predictions.column_names
        if names == [self._output]:
            return self._cast(predictions.column(0))
        if self._output_type is not None:
            raise ConfigurationError(
                f"output_type={self._output_type}, but the model answers with several values, "
                f"{', '.join(names)}: leave output_type out, and take them from the dict"
            )
        leaves = [name.removeprefix(f"{self._output}_") for name in names]
        columns = [self._cast(column) for column in predictions.columns]
        return [dict(zip(leaves, values, strict=True)) for values in zip(*columns, strict=True)]

    def _cast(self, column: pa.ChunkedArray) -> list[Any]:
        if isinstance(column.type, pa.FixedShapeTensorType):
            tensors: list[Any] = array_of(column, self._output).tolist()
            return tensors
        if self._output_type is not None:
            try:
                column = column.cast(self._output_type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise ConfigurationError(
                    f"output_type={self._output_type}, but the model predicts {column.type}: "
                    f"{error}"
                ) from error
        values: list[Any] = column.to_pylist()
        return values

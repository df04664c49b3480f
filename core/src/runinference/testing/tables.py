"""Checks: a table's rows have the predictions that the same rows have as examples."""

from __future__ import annotations

import pyarrow as pa

from runinference.batch import TableBatch
from runinference.handler import VectorModelHandler
from runinference.model import LocalModel
from runinference.rendering import columns_of_rows
from runinference.results import ExampleFailed
from runinference.testing.subject import Loaded, Subject, fail
from runinference.testing.values import difference
from runinference.versions import ModelVersion

__all__ = ["check_table_is_not_changed", "check_tables_agree_with_examples"]

_OUTPUT = "prediction"


def check_tables_agree_with_examples(subject: Subject) -> None:
    """``collate_table``, or ``examples_from``, gives each row its example's prediction."""
    if subject.inputs.table is None and getattr(subject.handler, "collate_table", None):
        fail(
            f"{subject.name} has collate_table(), but there is no table to check it with: give "
            "table= with the examples as its rows"
        )
    table = subject.table()
    loaded = subject.load()
    examples = subject.examples(loaded)
    if len(examples) != table.num_rows:
        fail(
            f"table= has {table.num_rows} rows and examples= has {len(examples)} examples: give "
            "the same in both, a row per example in the same order, or table= alone"
        )
    expected = _of_examples(subject, loaded, examples)
    found = _of_table(subject, table)
    if found.column_names != expected.column_names:
        fail(
            f"{subject.name} answers a table with the columns {found.column_names}, where its "
            f"examples make {expected.column_names}: collate_table() has to make what predict() "
            "takes from collate()"
        )
    for name in expected.column_names:
        pairs = zip(found[name].to_pylist(), expected[name].to_pylist(), strict=True)
        for row, (ours, theirs) in enumerate(pairs):
            if apart := subject.difference(ours, theirs):
                fail(
                    f"{subject.name} predicts row {row} of a table otherwise than the same "
                    f"example: {apart} (column {name!r}). collate_table() has to make of the rows "
                    "what prepare() and collate() make of the examples"
                )


def check_table_is_not_changed(subject: Subject) -> None:
    """The table is after a call what it was before: it travels on, with its predictions."""
    table = subject.table()
    copied = pa.concat_tables([table.take(list(range(table.num_rows)))])
    _of_table(subject, table)
    for name in table.column_names:
        if apart := difference(table[name].to_pylist(), copied[name].to_pylist()):
            fail(
                f"{subject.name} changes column {name!r} of a table: {apart}. An array of a table "
                "may be the table's own memory: copy what is to be changed"
            )


def _of_table(subject: Subject, table: pa.Table) -> pa.Table:
    with subject.calling("load_model()", "it has to load the model that the checks are given"):
        model = LocalModel(ModelVersion(subject.handler, fingerprint=""))
    batch = TableBatch(table, subject.features(), output=_OUTPUT)
    with subject.calling("collate_table() or predict()", "they have to take the table's columns"):
        predictions = model.predict(model.prepare(batch), subject.inputs.inference_args)
        if isinstance(predictions, pa.Table):
            return predictions
        # of a handler that predicts row by row
        for prediction in predictions:
            if isinstance(prediction, ExampleFailed):
                raise prediction.error
        return columns_of_rows(predictions, _OUTPUT)


def _of_examples(subject: Subject, loaded: Loaded, examples: list[object]) -> pa.Table:
    handler, model = loaded
    kind = type(handler)
    steps = isinstance(handler, VectorModelHandler) and (
        kind.run_inference is VectorModelHandler.run_inference
        and kind.split is VectorModelHandler.split
    )
    if not steps:
        return columns_of_rows(subject.predict(loaded, examples), _OUTPUT)
    with subject.calling("predict()", "it has to predict the examples that are given"):
        prepared = handler.prepare(examples, model)
        batch = handler.collate(prepared, model)
        outputs = handler.predict(batch, model, subject.inputs.inference_args)
        read = handler.read_outputs(outputs, len(examples))
        columns: pa.Table = read.columns(_OUTPUT, handler.output_lengths(read, prepared))
        return columns

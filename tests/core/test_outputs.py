"""A model's outputs become rows or columns, leaf by leaf, or an error names the leaf."""

import collections
import dataclasses
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runinference.errors import OutputStructureError, PredictionCountError
from runinference.outputs import read_outputs, read_predictions
from runinference.rendering import columns_of_rows

Pair = collections.namedtuple("Pair", ["low", "high"])


@dataclasses.dataclass
class Answer:
    logits: np.ndarray
    hidden: tuple


def read(raw, count, **options):
    return read_outputs(raw, count, source="model", **options)


def test_a_vector_gives_scalars():
    assert read(np.arange(3.0), 3).rows() == [0.0, 1.0, 2.0]


def test_rows_own_their_memory():
    batch = np.zeros((512, 64))
    row = read(batch, 512).rows()[7]
    batch[:] = 1
    assert row.base is None
    assert not row.any()
    assert len(pickle.dumps(row)) < 1024


def test_structures_keep_their_shape():
    raw = {
        "logits": np.arange(4).reshape(2, 2),
        "bounds": Pair(np.array([1, 2]), np.array([3, 4])),
        "pair": (["a", "b"], {"deep": np.array([5, 6])}),
    }
    rows = read(raw, 2).rows()
    assert rows[1]["bounds"] == Pair(2, 4)
    assert rows[1]["pair"] == ("b", {"deep": 6})
    assert rows[1]["logits"].tolist() == [2, 3]


def test_dataclasses_and_nested_tuples():
    raw = Answer(np.ones((2, 3)), (np.zeros((2, 4)), np.ones((2, 4))))
    rows = read(raw, 2).rows()
    assert isinstance(rows[0], Answer)
    assert [layer.sum() for layer in rows[0].hidden] == [0, 4]


def test_an_absent_branch_stays_absent():
    assert read({"a": [1, 2], "cache": None}, 2).rows() == [
        {"a": 1, "cache": None},
        {"a": 2, "cache": None},
    ]


def lstm(batch=64, layers=2):
    output = np.zeros((batch, 5, 3))
    state = np.zeros((layers, batch, 3))
    return output, (state, state)


def test_a_leaf_of_another_length_is_named():
    with pytest.raises(PredictionCountError, match=r"leaf '\[1\]\[0\]' .* has 2 entries .* for 64"):
        read(lstm(), 64)


def test_batch_axis_reaches_a_leaf():
    rows = read(lstm(), 64, batch_axis={"[1][0]": 1, "[1][1]": 1}).rows()
    assert len(rows) == 64
    assert rows[0][1][0].shape == (2, 3)


def test_batch_axis_none_gives_each_row_the_whole_leaf():
    rows = read({"y": [1, 2], "loss": np.float32(0.5)}, 2, batch_axis={"loss": None}).rows()
    assert rows == [{"y": 1, "loss": 0.5}, {"y": 2, "loss": 0.5}]


def test_selected_outputs():
    assert read(lstm(3), 3, select=["[0]"]).rows()[0][0].shape == (5, 3)
    rows = read({"a": [1, 2], "b": {"c": [3, 4], "d": [5]}}, 2, select=["b.c"]).rows()
    assert rows == [{"b": {"c": 3}}, {"b": {"c": 4}}]


@pytest.mark.parametrize(
    ("raw", "options", "message"),
    [
        (None, {}, "returned None"),
        ("text", {}, "'text'"),
        (np.float64(3.0), {}, "not one entry per example"),
        ({"a": [1], "loss": 0.5}, {}, "leaf 'loss'"),
        ((1,), {}, "a tuple is read as a structure: return a list"),
        ({1}, {}, "not one entry"),
        ({}, {}, "without leaves"),
        ({"a": [1]}, {"select": ["b"]}, "asks for 'b', but the model answers with 'a'"),
        ({"a": [1]}, {"batch_axis": {"b": 1}}, "batch_axis names 'b'"),
        ({"a": np.ones(1)}, {"batch_axis": 1}, "leaf 'a'"),
    ],
)
def test_what_cannot_be_split_is_named(raw, options, message):
    with pytest.raises(OutputStructureError, match=message):
        read(raw, 1, **options)


def test_predictions_of_a_list():
    assert read_predictions(["a", {"b": 1}], 2, source="h") == ["a", {"b": 1}]
    assert read_predictions(iter([1, 2]), 2, source="h") == [1, 2]
    assert read_predictions({"y": [1, 2]}, 2, source="h") == [{"y": 1}, {"y": 2}]
    with pytest.raises(PredictionCountError, match="h returned 1 predictions for 2 examples"):
        read_predictions([1], 2, source="h")


@pytest.mark.parametrize(
    "make", [pa.array, lambda values: pa.chunked_array([values[:1], values[1:]])]
)
def test_arrow_arrays_are_leaves_too(make):
    outputs = read({"y": make([[1], []])}, 2)
    assert outputs.rows() == [{"y": [1]}, {"y": []}]
    assert outputs.columns("prediction").column("prediction_y").to_pylist() == [[1], []]
    with pytest.raises(PredictionCountError, match="2 predictions for 3 examples"):
        read(make([[1], []]), 3)


def test_columns():
    table = read(
        {"label": np.array(["x", "y"]), "p": np.arange(6.0).reshape(2, 3), "n": {"m": [1, 2]}}, 2
    ).columns("prediction")
    assert table.column_names == ["prediction_label", "prediction_p", "prediction_n_m"]
    assert table.schema.field("prediction_p").type == pa.list_(pa.float64(), 3)
    assert table.to_pylist()[1] == {
        "prediction_label": "y",
        "prediction_p": [3.0, 4.0, 5.0],
        "prediction_n_m": 2,
    }


def test_sequences_are_lists_of_their_own_length():
    tags = np.arange(6, dtype=np.float32).reshape(2, 3)
    outputs = read({"tags": tags, "deep": tags.reshape(2, 3, 1), "score": [1, 2]}, 2)
    lengths = {"tags": [1, 3], "deep": [3, 2]}
    table = outputs.columns("p", lengths)
    assert table.schema.field("p_tags").type == pa.list_(pa.float32())
    assert table.schema.field("p_deep").type == pa.list_(pa.list_(pa.float32(), 1))
    assert table.column("p_tags").to_pylist() == [[0], [3, 4, 5]]
    assert table.column("p_deep").to_pylist() == [[[0], [1], [2]], [[3], [4]]]
    assert [row["tags"].tolist() for row in outputs.rows(lengths)] == [[0], [3, 4, 5]]
    words = read([["a", "b"], ["c", "-"]], 2).columns("p", {"": [2, 1]})
    assert words.column("p").to_pylist() == [["a", "b"], ["c"]]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i8", "?"])
def test_a_column_keeps_the_models_type(dtype):
    column = read(np.ones(3, dtype), 3).columns("prediction").column(0)
    assert column.type == pa.from_numpy_dtype(np.dtype(dtype))


def test_columns_of_single_predictions():
    assert columns_of_rows([1.5, 2.5], "p").to_pydict() == {"p": [1.5, 2.5]}
    assert columns_of_rows([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "p").to_pydict() == {
        "p_a": [1, 2],
        "p_b": ["x", "y"],
    }
    table = columns_of_rows([np.ones(2, np.float32)] * 3, "p")
    assert table.schema.field("p").type == pa.list_(pa.float32(), 2)
    assert columns_of_rows([np.ones(1), np.ones(2)], "p").to_pydict() == {"p": [[1.0], [1.0, 1.0]]}


def test_rows_of_different_structures_do_not_make_columns():
    with pytest.raises(OutputStructureError, match="the prediction of row 1"):
        columns_of_rows([{"a": 1}, {"b": 2}], "p")
    with pytest.raises(OutputStructureError, match="do not make one column"):
        columns_of_rows([1, "a"], "p")


shapes = st.lists(st.integers(1, 3), min_size=0, max_size=2)


@given(
    count=st.integers(1, 6),
    leaves=st.dictionaries(st.sampled_from("abc"), shapes, min_size=1),
)
def test_rows_put_together_again_are_the_outputs(count, leaves):
    raw = {
        name: np.arange(count * int(np.prod(shape, dtype=int))).reshape(count, *shape)
        for name, shape in leaves.items()
    }
    rows = read(raw, count).rows()
    assert len(rows) == count
    for name, leaf in raw.items():
        np.testing.assert_array_equal(np.stack([row[name] for row in rows]), leaf)
    table = read(raw, count).columns("p")
    for name, leaf in raw.items():
        assert table.column(f"p_{name}").to_pylist() == leaf.tolist()

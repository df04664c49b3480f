"""Columns of every kind become arrays, matrices or examples."""

import numpy as np
import pyarrow as pa
import pytest

from runinference.columns import array_of, examples_of, matrix, select_features
from runinference.errors import FeatureError


def vectors(rows=3, width=2, kind=np.float32):
    return pa.FixedSizeListArray.from_arrays(pa.array(np.arange(rows * width, dtype=kind)), width)


def test_matrix():
    columns = {"a": np.array([1, 2], np.int8), "b": np.array([0.5, 1.5], np.float32)}
    made = matrix(pa.table(columns))
    assert made.dtype == np.float32
    assert made.tolist() == [[1, 0.5], [2, 1.5]]
    assert matrix(pa.table(columns), np.float64).dtype == np.float64
    assert matrix(pa.table({"a": [True, False]})).tolist() == [[1], [0]]


@pytest.mark.parametrize("dtype", [None, np.float32])
@pytest.mark.parametrize("rows", [10, 10_000])
def test_a_matrix_of_columns_in_pieces(rows, dtype):
    whole = np.arange(3 * rows)
    columns = {
        "numbers": pa.array(whole / 3),
        "flags": pa.array(whole % 2 == 0),
        "some missing": pa.array(whole, mask=whole == rows + 4),  # in the second piece alone
        "coded": pa.array(whole % 5).dictionary_encode(),
    }
    for names in (["numbers"], ["flags"], ["some missing"], ["coded"], list(columns)):
        table = pa.table({name: columns[name] for name in names})
        pieces = pa.concat_tables(
            [table.slice(start, end - start) for start, end in [(0, rows), (rows, 3 * rows)]]
        )
        made, expected = matrix(pieces, dtype), matrix(table, dtype)
        assert made.dtype == expected.dtype
        np.testing.assert_array_equal(made, expected)


def test_a_vector_column_is_viewed_as_a_matrix():
    column = vectors()
    made = matrix(pa.table({"v": column}))
    assert made.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert made.__array_interface__["data"][0] == column.values.buffers()[1].address
    assert matrix(pa.table({"v": column}).slice(1, 1)).tolist() == [[2, 3]]
    chunked = pa.concat_tables([pa.table({"v": column})] * 2)
    assert matrix(chunked).shape == (6, 2)


def test_images_keep_their_shape():
    nested = pa.FixedSizeListArray.from_arrays(vectors(6), 3)
    assert array_of(nested, "v").shape == (2, 3, 2)
    images = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    np.testing.assert_array_equal(matrix(pa.table({"v": tensors})), images)


def test_dictionaries_are_looked_up():
    assert array_of(pa.array([5, 7, 5]).dictionary_encode(), "d").tolist() == [5, 7, 5]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(["a"]), "'c' is of type string, not numeric"),
        (pa.array([[1], [2, 3]]), "lists of column 'c' have different lengths, such as 1 and 2"),
        (pa.array([["a"], ["b"]]), "'c' is of type string, not numeric"),
        (pa.array([[1, None]], pa.list_(pa.int64(), 2)), "the lists of column 'c' hold 1 nulls"),
    ],
)
def test_what_is_no_array_is_named(column, message):
    with pytest.raises(FeatureError, match=message):
        array_of(column, "c")


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_lists_of_one_length_are_vectors(kind):
    column = pa.array([[[1, 2]], [[3, 4]], [[5, 6]]], kind(kind(pa.int16())))
    for start in (0, 1):
        found = array_of(column.slice(start), "c")
        assert found.tolist() == column.slice(start).to_pylist()
        assert found.dtype == np.int16
    assert array_of(column[:0], "c").shape == (0, 0, 0)


def test_vectors_stand_alone():
    with pytest.raises(FeatureError, match="'v' holds vectors, which stand alone"):
        matrix(pa.table({"v": vectors(), "x": [1, 2, 3]}))


def test_examples_of_one_column_are_its_values():
    assert examples_of(pa.table({"a": ["x", "y"]})) == ["x", "y"]
    assert examples_of(pa.table({"a": pa.array(["x", "x"]).dictionary_encode()})) == ["x", "x"]
    assert [row.tolist() for row in examples_of(pa.table({"v": vectors()}))] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int32())])
def test_examples_of_lists_are_arrays(kind):
    column = pa.array([[1, 2], [], [3], [4, 5, 6]], kind)
    for table in (pa.table({"t": column}), pa.concat_tables([pa.table({"t": column})] * 2)):
        for start in (0, 1):
            rows = examples_of(table.slice(start, 3))
            assert all(isinstance(row, np.ndarray) for row in rows)
            assert [row.tolist() for row in rows] == column.slice(start, 3).to_pylist()


def test_examples_of_several_columns_are_dicts():
    table = pa.table({"a": [1, 2], "t": [[1.5], [2.5, 3.5]], "s": ["x", None]})
    first, second = examples_of(table)
    assert (first["a"], first["t"].tolist(), first["s"]) == (1, [1.5], "x")
    assert second["s"] is None


def test_nulls_are_an_error_unless_the_model_takes_them():
    table = pa.table({"x": pa.array([1.0, None, None])})
    with pytest.raises(FeatureError, match="column 'x' has 2 nulls in 3 rows"):
        select_features(table, ["x"])
    assert np.isnan(matrix(select_features(table, ["x"], takes_nulls=True))).sum() == 2


def test_a_column_that_stands_twice_is_named():
    table = pa.table([[1], [2]], names=["x", "x"])
    with pytest.raises(FeatureError, match="has 2 columns called 'x'"):
        select_features(table, ["x"])

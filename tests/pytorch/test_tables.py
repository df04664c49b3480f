"""Columns of Arrow tables become tensors, and predictions become columns."""

import nets
import numpy as np
import pyarrow as pa
import pytest
import torch

from runinference import BatchConfig, RunTableInference
from runinference.errors import ExampleError, FeatureError, OutputStructureError
from runinference_pytorch import (
    Padding,
    PytorchModelHandlerKeyedTensor,
    PytorchModelHandlerTensor,
)
from runinference_pytorch.table_tensors import is_borrowed


class Tensors(PytorchModelHandlerTensor):
    def load_model(self):
        return self.model_class(**self.model_params).eval()


class Named(PytorchModelHandlerKeyedTensor):
    def load_model(self):
        return self.model_class(**self.model_params).eval()


class Echo(torch.nn.Module):
    """Answers with its own arguments."""

    def forward(self, *args, **kwargs):
        return args[0] if args else kwargs


def collated(handler, table):
    model = handler.load_model()
    handler._writes_to_input = False
    return handler.collate_table(table, model).tensors


def lists(values, width=None, kind=None):
    if width is None:
        return pa.array(values, pa.list_(kind or pa.float32()))
    return pa.array(values, pa.list_(kind or pa.float32(), width))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_numeric_columns_are_one_matrix_of_the_models_dtype(dtype):
    table = pa.table({"a": [1, 2], "b": [0.5, 1.5], "c": pa.array([True, False])})
    handler = Tensors(model_class=nets.Sized, model_params={"dtype": dtype})
    matrix = collated(handler, table)
    assert matrix.dtype == getattr(torch, dtype)
    assert matrix.tolist() == [[1, 0.5, 1], [2, 1.5, 0]]


def test_a_dtype_that_is_told_stands_above_the_models():
    handler = Tensors(model_class=nets.Sized, dtype="int64")
    assert collated(handler, pa.table({"a": [1.0, 2.0]})).dtype == torch.int64
    handler = Tensors(model_class=nets.Sized, dtype="float32")
    batch = collated(handler, pa.table({"a": lists([[1, 2]], 2, pa.uint8())}))
    assert batch.dtype == torch.float32


@pytest.mark.parametrize("width", [3, None])
def test_a_column_of_lists_is_viewed_where_it_lies(width):
    column = lists([[1, 2, 3], [4, 5, 6], [7, 8, 9]], width)
    for table in (pa.table({"x": column}), pa.table({"x": column}).slice(1, 2)):
        matrix = collated(Tensors(model_class=nets.Sized), table)
        assert matrix.tolist() == table.column("x").to_pylist()
        assert is_borrowed(matrix, table)


def test_lists_of_whole_numbers_stay_whole():
    kinds = {
        pa.int64(): torch.int64,
        pa.int32(): torch.int32,
        pa.uint8(): torch.uint8,
        pa.uint16(): torch.int32,
        pa.uint32(): torch.int64,
        pa.bool_(): torch.bool,
    }
    for kind, dtype in kinds.items():
        values = [[True, False], [False, True]] if kind == pa.bool_() else [[1, 2], [3, 4]]
        batch = collated(Tensors(model_class=nets.Sized), pa.table({"x": lists(values, 2, kind)}))
        assert batch.dtype == dtype
        assert batch.tolist() == values


def test_images_keep_their_shape():
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    nested = pa.array(values.tolist(), pa.list_(pa.list_(pa.float32(), 4), 3))
    for column in (tensors, nested):
        batch = collated(Tensors(model_class=nets.Sized), pa.table({"x": column}))
        np.testing.assert_array_equal(batch.numpy(), values)


def test_columns_in_several_chunks_and_encoded_by_a_dictionary():
    table = pa.concat_tables([pa.table({"x": lists([[1, 2]], 2)}) for _ in range(3)])
    assert collated(Tensors(model_class=nets.Sized), table).tolist() == [[1, 2]] * 3
    table = pa.table({"x": pa.array([5, 7, 5]).dictionary_encode()})
    assert collated(Named(model_class=Echo), table)["x"].tolist() == [5, 7, 5]


def test_named_columns_are_tensors_of_their_name():
    table = pa.table(
        {"n": pa.array([1, 2], pa.int16()), "x": [0.5, 1.5], "v": lists([[1, 2], [3, 4]], 2)}
    )
    tensors = collated(Named(model_class=Echo), table)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()} == {
        "n": (torch.int16, (2,)),
        "x": (torch.float32, (2,)),
        "v": (torch.float32, (2, 2)),
    }
    tensors = collated(Named(model_class=Echo, dtype={"n": "int64"}), table)
    assert tensors["n"].dtype == torch.int64
    with pytest.raises(ExampleError, match="dtype names the tensor 'm'"):
        collated(Named(model_class=Echo, dtype={"m": "int64"}), table)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"x": lists([[1], [1, 2]])}, r"'x' have different lengths, such as 1 and 2: .*padding="),
        ({"x": lists([[1], [None]])}, "column 'x' has 1 nulls"),
        ({"x": ["a", "b"]}, "'x' is of type string, not numeric"),
        ({"x": pa.array([["a"], ["b"]])}, "'x' is of string, not of numbers"),
        ({"x": lists([[1], [2]], 1), "y": [1, 2]}, "one column of lists, but 'x'"),
    ],
)
def test_columns_that_make_no_tensor_are_named(columns, said):
    with pytest.raises(FeatureError, match=said):
        collated(Tensors(model_class=nets.Sized), pa.table(columns))


def test_a_table_without_rows_makes_an_empty_batch():
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 3), pa.float32()):
        table = pa.table({"x": pa.array([], kind)})
        assert len(collated(Tensors(model_class=nets.Sized), table)) == 0


def table_of(run, handler, tables, **options):
    made = run.one(RunTableInference(handler, **options), tables)
    return pa.concat_tables(made)


def test_a_matrix_is_scored(run, saved):
    model = nets.Net().eval()
    data = np.random.default_rng(0).normal(size=(100, 4))
    table = pa.table({f"f{i}": data[:, i] for i in range(4)} | {"id": range(100)})
    handler = PytorchModelHandlerTensor(saved(model), nets.Net)
    found = table_of(run, handler, [table], keep=["id"], batching=BatchConfig(max_size=32))
    assert found.column_names == ["id", "prediction"]
    expected = model(torch.tensor(data, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(np.stack(found["prediction"].to_numpy()), expected, rtol=1e-5)

    handler = PytorchModelHandlerTensor(saved(model), nets.Net, method="classify")
    found = table_of(run, handler, [table], keep=["id"])
    assert found["prediction"].to_pylist() == expected.argmax(axis=1).tolist()


def test_the_features_of_named_tensors_are_the_arguments_of_the_model(run, saved):
    model = nets.Wide().eval()
    table = pa.table({"bias": [1.0, 2.0], "numbers": lists([[1, 2, 3], [4, 5, 6]]), "word": [3, 4]})
    handler = PytorchModelHandlerKeyedTensor(saved(model), nets.Wide)
    found = table_of(run, handler, [table])
    expected = model(torch.tensor([3, 4]), torch.tensor([[1.0, 2, 3], [4, 5, 6]])).detach()
    np.testing.assert_allclose(found["prediction"].to_numpy(), expected.numpy(), rtol=1e-5)


def test_lists_of_different_lengths_are_padded_and_trimmed(run, saved):
    model = nets.Tagger(classes=2, tags=1).eval()
    ids = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10]]
    table = pa.table({"input_ids": lists(ids, kind=pa.int32()), "id": range(4)})
    handler = PytorchModelHandlerKeyedTensor(
        saved(model),
        nets.Tagger,
        {"classes": 2, "tags": 1},
        padding={"input_ids": Padding(mask="attention_mask")},
    )
    found = table_of(run, handler, [table], batching=BatchConfig(max_tokens=8))
    assert found["id"].to_pylist() == [0, 1, 2, 3]
    for row, tokens in zip(found.to_pylist(), ids, strict=True):
        expected = model(torch.tensor([tokens]))
        np.testing.assert_allclose(
            row["prediction_tags"], expected["tags"][0].tolist(), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            row["prediction_classes"], expected["classes"][0].tolist(), rtol=1e-4, atol=1e-5
        )


def rows_of_three(*rows):
    return pa.table({"x": lists(list(rows), 3)})


def test_a_model_that_writes_to_its_input_does_not_write_to_the_table(run, saved):
    model = nets.InPlace()
    table = rows_of_three([1, 1, 1], [2, 2, 2])
    handler = PytorchModelHandlerTensor(saved(model), nets.InPlace)
    for batching in (None, BatchConfig(max_size=1)):
        found = table_of(run, handler, [table], batching=batching, features=["x"])
        assert found["prediction"].to_pylist() == [6, 12]
        assert found["x"].to_pylist() == [[1, 1, 1], [2, 2, 2]]


def test_a_model_that_begins_to_write_to_its_input_late_is_an_error():
    handler = Tensors(model_class=nets.InPlace, model_params={"from_call": 3})
    model = handler.load_model()

    def predict():
        return handler.predict(handler.collate_table(rows_of_three([1, 1, 1]), model), model, None)

    assert predict().tolist() == [3]
    assert predict().tolist() == [3]
    with pytest.raises(OutputStructureError, match="changed its input in place"):
        predict()
    assert predict().tolist() == [6]


def test_a_model_that_only_reads_gets_the_tables_own_memory():
    handler = Tensors(model_class=nets.Sized)
    model, table = handler.load_model(), rows_of_three([1, 2, 3])
    first = handler.collate_table(table, model)
    assert not is_borrowed(first.tensors, table)
    handler.predict(first, model, None)
    assert is_borrowed(handler.collate_table(table, model).tensors, table)


TAGGER = {"classes": 3, "tags": 2}


def token_table(lengths, name="input_ids", kind=None):
    rng = np.random.default_rng(len(lengths))
    kind = kind or pa.int64()
    tokens = [rng.integers(1, 30, length).tolist() for length in lengths]
    return pa.table({name: lists(tokens, kind=kind)})


@pytest.mark.parametrize("lengths", [[3, 3, 5, 6], [5, 6, 3, 3], [1, 1, 2, 2], [4, 4, 4, 4]])
@pytest.mark.parametrize("named", [True, False])
def test_sequences_make_one_type_of_column_whatever_was_padded(run, saved, lengths, named):
    model = nets.Tagger(**TAGGER).eval()
    padding = Padding(mask="attention_mask")
    handler = PytorchModelHandlerKeyedTensor(
        saved(model), nets.Tagger, TAGGER, padding={"input_ids": padding} if named else padding
    )
    table = token_table(lengths)
    tables = [table, table.slice(0, 2), table.slice(2)]
    for found in run.one(RunTableInference(handler, batching=BatchConfig(max_size=2)), tables):
        assert found.schema.field("prediction_tags").type == pa.list_(pa.list_(pa.float32(), 2))
        assert found.schema.field("prediction_classes").type == pa.list_(pa.float32(), 3)
        assert [len(tags) for tags in found["prediction_tags"].to_pylist()] == [
            len(tokens) for tokens in found["input_ids"].to_pylist()
        ]
        for row in found.to_pylist():
            expected = model(torch.tensor([row["input_ids"]]))["tags"][0].detach().numpy()
            np.testing.assert_allclose(row["prediction_tags"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [[3, 3, 5, 6], [1, 1, 1, 1]])
def test_the_sequences_of_a_tuple_make_one_type_of_column(run, saved, lengths):
    model = nets.Recurrent().eval()
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(length, 3)).tolist() for length in lengths]
    table = pa.table({"x": pa.array(values, pa.list_(pa.list_(pa.float32(), 3)))})
    handler = PytorchModelHandlerTensor(
        saved(model), nets.Recurrent, padding=Padding(), outputs=["[0]"]
    )
    transform = RunTableInference(handler, features=["x"], batching=BatchConfig(max_size=2))
    [found] = run.one(transform, [table])
    assert found.schema.field("prediction_0").type == pa.list_(pa.list_(pa.float32(), 5))
    for row, example in zip(found["prediction_0"].to_pylist(), values, strict=True):
        expected = model(torch.tensor([example]))[0][0].detach().numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)

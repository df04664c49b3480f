"""Examples become one batch, or an error that names the two that do not fit together."""

import re

import nets
import numpy as np
import pytest
import torch

from runinference.batch import RowBatch
from runinference.deduplication import distinct
from runinference.errors import ExampleError
from runinference_pytorch import PytorchModelHandlerKeyedTensor, PytorchModelHandlerTensor


class Tensors(PytorchModelHandlerTensor):
    def load_model(self):
        return self.model_class(**self.model_params).eval()


class Named(PytorchModelHandlerKeyedTensor):
    def load_model(self):
        return self.model_class(**self.model_params).eval()


@pytest.fixture
def net():
    handler = Tensors(model_class=nets.Net)
    return handler, handler.load_model()


NUMBERS = [1.0, -2.0, 0.5, 3.0]
READ_ONLY = np.array(NUMBERS, np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "example",
    [
        torch.tensor(NUMBERS),
        np.array(NUMBERS, np.float32),
        READ_ONLY,
        np.array(NUMBERS[::-1], np.float32)[::-1],
        NUMBERS,
        tuple(NUMBERS),
        torch.tensor(NUMBERS, requires_grad=True),
    ],
)
def test_whatever_has_numbers_is_an_example(net, example):
    handler, model = net
    rows = handler.run_inference([example, example], model)
    torch.testing.assert_close(rows[1], model(torch.tensor([NUMBERS]))[0].detach())
    assert not rows[1].requires_grad


@pytest.mark.parametrize("example", ["text", None, object(), [1.0, "x"], np.array(["a"])])
def test_what_has_no_numbers_is_an_error_that_names_its_position(net, example):
    handler, model = net
    with pytest.raises(ExampleError, match="example 1 is no tensor"):
        handler.run_inference([torch.zeros(4), example], model)


def test_the_examples_are_not_changed(net):
    handler = Tensors(model_class=nets.InPlace)
    examples = [torch.ones(3), torch.ones(3)]
    assert handler.run_inference(examples, handler.load_model())[0] == 6
    assert examples[0].tolist() == [1, 1, 1]


def test_different_shapes_name_two_and_what_to_do(net):
    handler, model = net
    examples = [torch.zeros(4), torch.zeros(4), torch.zeros(5)]
    with pytest.raises(ExampleError) as raised:
        handler.run_inference(examples, model)
    message = str(raised.value)
    assert "examples 0 and 2 of a batch have the shapes (4,) and (5,)" in message
    assert "padding=Padding(...)" in message
    assert "BatchConfig(max_size=1)" in message


def test_different_dtypes_name_two_and_do_not_promote(net):
    handler, model = net
    examples = [torch.zeros(4), torch.zeros(4, dtype=torch.float64)]
    with pytest.raises(ExampleError, match=r"examples 0 and 1 .* torch.float32 and torch.float64"):
        handler.run_inference(examples, model)
    handler = Tensors(model_class=nets.Net, dtype="float32")
    assert len(handler.run_inference(examples, model)) == 2


def test_a_dtype_that_the_model_does_not_take_says_which_it_has(net):
    handler, model = net
    with pytest.raises(ExampleError) as raised:
        handler.run_inference([np.zeros(4), np.zeros(4)], model)
    assert "Net cannot take a batch of float64 [2, 4]" in str(raised.value)
    assert "weights are float32" in str(raised.value)
    assert "dtype='float32'" in str(raised.value)


def test_a_width_that_the_model_does_not_take_names_the_shape(net):
    handler, model = net
    with pytest.raises(ExampleError, match=re.escape("cannot take a batch of float32 [1, 5]: ")):
        handler.run_inference([torch.zeros(5)], model)


def test_an_error_of_the_model_itself_stays_what_it_is():
    def inference_fn(batch, model, device, inference_args):
        raise KeyError("vocabulary")

    handler = Tensors(model_class=nets.Net, inference_fn=inference_fn)
    with pytest.raises(KeyError, match="vocabulary"):
        handler.run_inference([torch.zeros(4)], handler.load_model())


def named(word, numbers):
    return {"word": torch.tensor(word), "numbers": torch.tensor(numbers)}


def test_named_tensors_are_the_arguments_of_the_model():
    handler = Named(model_class=nets.Wide)
    model = handler.load_model()
    examples = [named(i, [float(i), 1.0, 2.0]) for i in range(6)]
    rows = handler.run_inference(examples, model)
    for example, row in zip(examples, rows, strict=True):
        alone = model(**{name: tensor[None] for name, tensor in example.items()})
        torch.testing.assert_close(row, alone[0].detach())
    rows = handler.run_inference([{"word": 3, "numbers": [1.0, 2.0, 3.0]}], model, {"bias": 100.0})
    assert rows[0] > 50


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ([named(1, [1.0, 2.0, 3.0]), torch.zeros(3)], "example 1 is a Tensor"),
        ([named(1, [1.0, 2.0, 3.0]), {"word": torch.tensor(1)}], "give every example 'numbers'"),
        ([named(1, [1.0, 2.0, 3.0]), named(1, [1.0])], "the tensors 'numbers' of examples 0 and 1"),
        ([named(1, [1.0, 2.0, 3.0]), named(1.5, [1.0, 2.0, 3.0])], "the tensors 'word' of"),
        ([{"word": "text", "numbers": [1.0]}], "tensor 'word' of example 0 is no tensor"),
    ],
)
def test_named_tensors_that_make_no_batch_name_two_examples(examples, said):
    handler = Named(model_class=nets.Wide)
    with pytest.raises(ExampleError, match=said):
        handler.run_inference(examples, handler.load_model())


def test_dtypes_may_be_told_by_name():
    handler = Named(model_class=nets.Wide, dtype={"numbers": "float32"})
    (row,) = handler.run_inference([{"word": 3, "numbers": np.ones(3)}], handler.load_model())
    assert row.dtype == torch.float32
    handler = Named(model_class=nets.Wide, dtype={"number": "float32"})
    with pytest.raises(ExampleError, match="dtype names the tensor 'number'"):
        handler.run_inference([{"word": 3, "numbers": np.ones(3)}], handler.load_model())


def test_examples_are_counted_in_true_bytes():
    handler = Tensors(model_class=nets.Net)
    assert handler.get_num_bytes([torch.zeros(3, 224, 224)]) == 602_112
    assert Named(model_class=nets.Wide).get_num_bytes([named(1, [1.0, 2.0, 3.0])]) == 8 + 12


def test_equal_tensors_are_found_by_their_values():
    values = torch.arange(6.0, requires_grad=True)
    same = [values[:3], torch.arange(3.0), values[3:], torch.arange(3.0).reshape(3, 1)]
    assert distinct(RowBatch(same), None).codes.tolist() == [0, 0, 1, 2]
    half = [torch.ones(2, dtype=torch.bfloat16), torch.ones(2), torch.ones(2, dtype=torch.bfloat16)]
    assert distinct(RowBatch(half), None).codes.tolist() == [0, 1, 0]

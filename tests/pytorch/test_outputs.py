"""What models answer with becomes one prediction per example, each in memory of its own."""

import pickle

import nets
import numpy as np
import pytest
import torch

from runinference.errors import InferenceError, OutputStructureError, PredictionCountError
from runinference.outputs import read_outputs
from runinference.rendering import rows_of
from runinference_pytorch import PytorchModelHandlerTensor


def predictions(model, path, examples, **options):
    options = {"model_class": type(model)} | options
    handler = PytorchModelHandlerTensor(path, **options)
    return handler.run_inference(examples, handler.load_model())


def test_a_row_of_a_tensor_has_no_gradient():
    leaf = torch.ones(4, 3, requires_grad=True) * 2
    assert not any(row.requires_grad for row in read_outputs(leaf, 4, source="model").rows())


def test_a_trimmed_row_owns_only_its_own_memory():
    for leaf in (torch.ones(2, 4096), np.ones((2, 4096), np.float32)):
        first, second = read_outputs(leaf, 2, source="model").rows({"": [3, 4096]})
        assert tuple(first.shape) == (3,)
        assert tuple(second.shape) == (4096,)
        assert len(pickle.dumps(first)) < 1000


def test_a_leaf_of_the_whole_batch_owns_its_memory():
    large = torch.ones(4096, 4)
    with torch.inference_mode():
        raw = {"logits": torch.ones(2, 3), "codebook": large[:1]}
    rows = read_outputs(raw, 2, source="model", batch_axis={"codebook": None}).rows()
    assert not rows[0]["codebook"].is_inference()
    assert len(pickle.dumps(rows[0])) < 2000


def test_one_row_of_512_pickles_to_its_own_size(saved):
    model = nets.Net(classes=32)
    rows = predictions(
        model, saved(model), [torch.randn(4) for _ in range(512)], model_params={"classes": 32}
    )
    assert len(rows) == 512
    assert len(pickle.dumps(rows[7])) < 1000
    assert not rows[7].is_inference()
    assert not rows[7].requires_grad
    rows[7].mul_(2)  # a normal tensor, which a postprocess function may change


@pytest.mark.parametrize("examples", [2, 64])
def test_an_lstm_never_yields_its_two_outputs_as_predictions(saved, examples):
    model = nets.Recurrent()
    path = saved(model)
    batch = [torch.randn(7, 3) for _ in range(examples)]
    if examples == 64:
        with pytest.raises(PredictionCountError, match=r"'\[1\]\[0\]'.*2 entries.*64 examples"):
            predictions(model, path, batch)
    model.eval()
    expected, (h, _) = model(torch.stack(batch))

    axes = {"[1][0]": 1, "[1][1]": 1}
    rows = predictions(model, path, batch, batch_axis=axes)
    assert len(rows) == examples
    output, (state, _) = rows[1]
    torch.testing.assert_close(output, expected[1].detach())
    torch.testing.assert_close(state, h[:, 1].detach())

    rows = predictions(model, path, batch, outputs=["[0]"])
    assert len(rows) == examples
    torch.testing.assert_close(rows[1][0], expected[1].detach())


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("tensor", lambda row: row),
        ("dict", lambda row: row["logits"]),
        ("dataclass", lambda row: row.logits),
        ("named tuple", lambda row: row.logits),
        ("model output", lambda row: row["logits"]),
    ],
)
def test_each_structure_is_split_into_the_same_structure(saved, kind, read):
    model = nets.Answers(kind)
    examples = [torch.randn(4) for _ in range(5)]
    rows = predictions(model, saved(model), examples, model_params={"kind": kind})
    model.kind = "tensor"
    for row, expected in zip(rows, model(torch.stack(examples)), strict=True):
        torch.testing.assert_close(read(row), expected.detach())


def test_hidden_states_are_split_example_by_example(saved):
    model = nets.Answers("model output")
    examples = [torch.randn(4) for _ in range(5)]
    rows = predictions(model, saved(model), examples, model_params={"kind": "model output"})
    assert rows[2]["loss"] is None
    first, hidden = rows[2]["hidden_states"]
    torch.testing.assert_close(first, examples[2])
    assert hidden.shape == (6,)
    rows = predictions(
        model,
        saved(model),
        examples,
        model_params={"kind": "model output"},
        outputs=["hidden_states[1]"],
    )
    torch.testing.assert_close(rows[2]["hidden_states"][0], hidden)


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("scalar", OutputStructureError, "not one entry per example"),
        ("none", OutputStructureError, "returned None"),
        ("one short", PredictionCountError, "4 predictions for 5 examples"),
        ("with codebook", PredictionCountError, "'codebook'"),
    ],
)
def test_an_output_that_is_not_one_per_example_is_an_error(saved, kind, error, said):
    model = nets.Answers(kind)
    examples = [torch.randn(4) for _ in range(5)]
    with pytest.raises(error, match=said) as raised:
        predictions(model, saved(model), examples, model_params={"kind": kind})
    assert isinstance(raised.value, InferenceError)


def test_a_leaf_of_the_whole_batch_is_the_same_for_each_example(saved):
    model = nets.Answers("with codebook")
    rows = predictions(
        model,
        saved(model),
        [torch.randn(4) for _ in range(5)],
        model_params={"kind": "with codebook"},
        batch_axis={"codebook": None},
    )
    assert len(rows) == 5
    torch.testing.assert_close(rows[3]["codebook"], model.last.weight[:1].detach())


def test_a_list_has_one_prediction_per_example_of_its_own_memory(saved):
    model = nets.Detector()
    rows = predictions(model, saved(model), [torch.ones(4096) for _ in range(3)])
    assert [len(row["boxes"]) for row in rows] == [1, 2, 3]
    assert isinstance(rows[0]["pair"], nets.Pair)
    assert not rows[1]["pair"].best[0].is_inference()
    assert len(pickle.dumps(rows[2]["boxes"])) < 1000


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.bfloat16, torch.complex128])
@pytest.mark.parametrize("shape", [(100,), (100, 1), (100, 7), (3, 16), (3, 17), (100, 0), (0, 3)])
def test_predictions_hold_little_but_themselves(shape, dtype):
    outputs = torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
    rows = rows_of(outputs)
    assert all(torch.equal(row, own) for row, own in zip(rows, outputs, strict=True))
    for row in rows:
        assert row.untyped_storage().nbytes() <= max(64, row.nbytes)


def test_a_prediction_that_is_changed_leaves_its_neighbours_alone():
    outputs = torch.zeros(100)
    rows = rows_of(outputs)
    rows[3] += 1
    assert not outputs.any()
    assert [i for i, row in enumerate(rows) if row] == [3]

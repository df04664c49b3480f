"""Arrays, numbers, texts and dicts become what the model's inputs ask for."""

import graphs
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from runinference import BatchConfig, RunInference
from runinference.errors import (
    ConfigurationError,
    ExampleError,
    OutputStructureError,
    PredictionCountError,
)
from runinference_onnx import OnnxModelHandlerNumpy


def loaded(path, **options):
    handler = OnnxModelHandlerNumpy(path, **options)
    return handler, handler.load_model()


def predict(path, examples, inference_args=None, **options):
    handler, model = loaded(path, **options)
    return handler.run_inference(examples, model, inference_args)


def test_equal_to_onnxruntime(save, classifier):
    exported, fitted, inputs = classifier
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    labels, probabilities = session.run(None, {"X": inputs})
    found = predict(save(exported), list(inputs))
    assert [one["label"] for one in found] == list(labels) == list(fitted.predict(inputs))
    np.testing.assert_array_equal([one["probabilities"] for one in found], probabilities)
    np.testing.assert_allclose(probabilities, fitted.predict_proba(inputs), atol=1e-5)


def test_in_a_pipeline(run, linear):
    rows = list(np.random.default_rng(0).normal(size=(20, 4)))
    batching = BatchConfig(min_size=7, max_size=7)
    transform = RunInference("onnx-numpy", model_uri=linear, batching=batching)
    for result in run.one(transform, rows):
        expected = result.example.astype(np.float32) @ graphs.WEIGHTS
        np.testing.assert_allclose(result.inference, expected, rtol=1e-5)
        assert result.model_id.startswith(f"{linear}@")
    assert run.distribution("inference_request_batch_size")[0].max == 7


def test_some_outputs(save, classifier):
    exported, _, inputs = classifier
    [found] = predict(save(exported), [inputs[0]], outputs=["label"])
    assert list(found) == ["label"]
    with pytest.raises(OutputStructureError, match="asks for 'lable', but the model answers with"):
        predict(save(exported), [inputs[0]], outputs=["lable"])


@pytest.mark.parametrize("example", [np.ones(4), [1, 1, 1, 1], (1.0, 1, 1, 1), np.ones(4, "int8")])
def test_numbers_are_converted(linear, example):
    [found] = predict(linear, [example])
    np.testing.assert_allclose(found, graphs.WEIGHTS.sum(axis=0))
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "examples"),
    [
        (TensorProto.STRING, ["a", "bc"]),
        (TensorProto.STRING, [np.str_("a"), np.str_("bc")]),
        (TensorProto.BOOL, [True, False]),
        (TensorProto.UINT8, [0, 255]),
        (TensorProto.INT32, [-1, 2**31 - 1]),
        (TensorProto.DOUBLE, [0.1, 1]),
        (TensorProto.FLOAT16, [0.5, 1.0]),
    ],
)
def test_types_of_inputs(save, kind, examples):
    assert list(predict(save(graphs.identity(kind)), examples)) == examples


@pytest.mark.parametrize(
    ("kind", "example", "said"),
    [
        (TensorProto.UINT8, 256, r"numbers? .*uint8|int64, but the model's input is 'x' \(uint8"),
        (TensorProto.UINT8, -1, "the model's input is 'x'"),
        (TensorProto.INT32, 2**31, "of numbers that int32 cannot hold"),
        (TensorProto.INT64, 0.5, "the examples are of float64, but .*int64"),
        (TensorProto.BOOL, 1, "the examples are of int64"),
        (TensorProto.FLOAT, "a", "the examples are of "),
        (TensorProto.STRING, 1.0, "the examples are of float64, but .*string"),
        (TensorProto.FLOAT, None, "example 0 is None"),
    ],
)
def test_values_that_would_change(save, kind, example, said):
    with pytest.raises(ExampleError, match=said):
        predict(save(graphs.identity(kind)), [example])


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ([np.ones(5)], r"of shape \[5\] each, but the model's input is 'x' \(float32 \[any, 4\]\)"),
        ([1.0], r"of shape \[\] each"),
        ([np.ones((1, 4))], r"of shape \[1, 4\] each"),
        ([np.ones(4), np.ones(3)], r"example 1 has shape \(3,\)"),
        ([{"z": np.ones(4)}], "no input 'z'; it has 'x'"),
        ([{"x": np.ones(4)}, np.ones(4)], r"example 1 is a ndarray, while example 0 is \['x'\]"),
        ([{}], "input 'x' is missing"),
    ],
)
def test_examples_that_do_not_fit(linear, examples, said):
    with pytest.raises(ExampleError, match=said):
        predict(linear, examples)


def test_what_only_the_model_can_tell(save):
    """Of an input whose shape is not told, the operator finds out."""
    untold = graphs.linear()
    untold.graph.input[0].type.tensor_type.ClearField("shape")
    untold.graph.output[0].type.tensor_type.ClearField("shape")
    path = save(untold)
    np.testing.assert_allclose(predict(path, [np.ones(4)]), [graphs.WEIGHTS.sum(axis=0)])
    with pytest.raises(ExampleError, match=r"cannot take 'x' \(float32 \[1, 3\]\): .*MatMul"):
        predict(path, [np.ones(3)])


def test_memory_that_does_not_suffice_is_pythons_error(save):
    with pytest.raises(MemoryError, match="allocate memory"):
        predict(save(graphs.too_large()), [2**45])


# Several inputs


def examples(count):
    return [{"a": [i, i + 1], "b": i} for i in range(count)]


def test_several_inputs_and_outputs(save):
    found = predict(save(graphs.two_inputs()), examples(3), {"factor": 2})
    assert [one["scaled"].tolist() for one in found] == [[0, 2], [2, 4], [4, 6]]
    assert [one["same"] for one in found] == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "inference_args", "said"),
    [
        ([np.ones(2)], None, "example 0 is a ndarray, but the model has the inputs 'a'.*a dict"),
        (examples(1), None, "input 'factor' is missing: .*inference_args"),
        ([{"a": [1, 2]}], {"factor": 1.0}, "input 'b' is missing"),
    ],
)
def test_inputs_that_are_missing(save, given, inference_args, said):
    with pytest.raises(ExampleError, match=said):
        predict(save(graphs.two_inputs()), given, inference_args)


@pytest.mark.parametrize(
    ("inference_args", "said"),
    [
        (
            {"factor": "much"},
            r"'factor' is of str.*, but the model's input is 'factor' \(float32\)",
        ),
        ({"factor": 1.0, "c": 1}, "inference_args has 'c'; the model has the inputs 'a'"),
    ],
)
def test_arguments_that_are_no_inputs(save, inference_args, said):
    with pytest.raises(ConfigurationError, match=said):
        predict(save(graphs.two_inputs()), examples(1), inference_args)


# A fixed number of examples


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("size", [1, 3])
def test_a_fixed_batch_size_is_met(save, count, size):
    rows = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    found = predict(save(graphs.linear(batch=size)), list(rows))
    np.testing.assert_allclose(found, rows @ graphs.WEIGHTS, rtol=1e-5)


def test_a_fixed_batch_size_beside_another_axis(save):
    handler, model = loaded(save(graphs.linear(batch=2)), batch_axis=1)
    with pytest.raises(ConfigurationError, match="dynamic batch axis"):
        handler.predict(handler.collate([np.ones(4)] * 3, model), model, None)


def test_an_output_of_another_length(save):
    fixed = graphs.linear()
    fixed.graph.node[0].input[0] = "W2"
    fixed.graph.initializer.append(
        graphs.numpy_helper.from_array(np.ones((3, 4), np.float32), "W2")
    )
    with pytest.raises(PredictionCountError, match="3 predictions for 2 examples"):
        predict(save(fixed), [np.ones(4)] * 2)

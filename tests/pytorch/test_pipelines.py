"""Both handlers on the embedded runner, beside Beam's own on the same model."""

import apache_beam as beam
import nets
import numpy as np
import pytest
import torch
from apache_beam.ml.inference import pytorch_inference
from apache_beam.ml.inference.base import RunInference as BeamRunInference

from runinference import BatchConfig, KeyedModelHandler, PredictionResult, RunInference
from runinference.errors import ExampleError, ModelLoadError
from runinference_pytorch import (
    Padding,
    PytorchModelHandlerKeyedTensor,
    PytorchModelHandlerTensor,
)

# Beam's handlers leave their files to the garbage collector.
beams_files_stay_open = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def by_first(results):
    return sorted(results, key=lambda result: float(torch.as_tensor(result.example).flatten()[0]))


@beams_files_stay_open
def test_tensors_are_predicted_as_by_beams_own_handler(run, saved):
    path = saved(nets.Net())
    examples = [torch.randn(4) for _ in range(100)]
    ours = run.one(RunInference(PytorchModelHandlerTensor(path, nets.Net)), examples)
    beams_handler = pytorch_inference.PytorchModelHandlerTensor(
        path, nets.Net, {}, load_model_args={"weights_only": True}
    )
    theirs = run.one(BeamRunInference(beams_handler), examples)
    assert len(ours) == len(theirs) == 100
    for our, their in zip(by_first(ours), by_first(theirs), strict=True):
        assert isinstance(our, PredictionResult)
        torch.testing.assert_close(our.example, their.example)
        torch.testing.assert_close(our.inference, their.inference)
        assert our.model_id.startswith(f"{path}@")


@beams_files_stay_open
def test_named_tensors_are_predicted_as_by_beams_own_handler(run, saved):
    path = saved(nets.Wide())
    examples = [{"word": torch.tensor(i % 20), "numbers": torch.randn(3)} for i in range(50)]
    ours = run.one(RunInference(PytorchModelHandlerKeyedTensor(path, nets.Wide)), examples)
    beams_handler = pytorch_inference.PytorchModelHandlerKeyedTensor(
        path, nets.Wide, {}, load_model_args={"weights_only": True}
    )
    theirs = run.one(BeamRunInference(beams_handler), examples)
    ours, theirs = (
        sorted((float(r.example["numbers"][0]), float(r.inference)) for r in results)
        for results in (ours, theirs)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@beams_files_stay_open
def test_beams_own_handler_runs_in_our_transform(run, saved):
    handler = pytorch_inference.PytorchModelHandlerTensor(
        saved(nets.Net()), nets.Net, {}, load_model_args={"weights_only": True}
    )
    assert len(run.one(RunInference(handler), [torch.randn(4) for _ in range(10)])) == 10


def test_arrays_and_lists_are_examples_and_come_back_as_they_are(run, saved):
    handler = PytorchModelHandlerTensor(saved(nets.Net()), nets.Net)
    results = run.one(RunInference(handler), [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    assert sorted(result.example for result in results) == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_keys_stay_with_their_examples(run, saved):
    model = nets.Net().eval()
    handler = KeyedModelHandler(PytorchModelHandlerTensor(saved(model), nets.Net))
    examples = {f"k{i}": torch.randn(4) for i in range(30)}
    for key, result in run.one(RunInference(handler), list(examples.items())):
        torch.testing.assert_close(result.inference, model(examples[key][None])[0].detach())


def test_sequences_are_cut_by_tokens_padded_and_trimmed(run, saved):
    model = nets.Tagger(classes=16).eval()
    handler = PytorchModelHandlerKeyedTensor(
        saved(model), nets.Tagger, {"classes": 16}, padding=Padding(mask="attention_mask")
    )
    generator = torch.Generator().manual_seed(0)
    examples = [
        {"input_ids": torch.randint(1, 30, (1 + i % 20,), generator=generator)} for i in range(60)
    ]
    results = run.one(RunInference(handler, batching=BatchConfig(max_tokens=64)), examples)
    assert len(results) == 60
    for result in results:
        expected = model(result.example["input_ids"][None])
        for name in ("tags", "classes"):
            torch.testing.assert_close(
                result.inference[name], expected[name][0].detach(), rtol=1e-4, atol=1e-5
            )


def test_different_shapes_are_an_error_or_predicted_one_by_one(run, saved):
    handler = PytorchModelHandlerTensor(saved(nets.Answers()), nets.Answers)
    examples = [torch.ones(4), torch.ones(2, 4)]
    with pytest.raises(Exception, match="padding=Padding") as raised:
        run.one(RunInference(handler), [*examples, *examples])
    assert "ExampleError" in str(raised.value) or isinstance(raised.value, ExampleError)
    one_by_one = RunInference(handler, batching=BatchConfig(max_size=1))
    assert len(run.one(one_by_one, [*examples, *examples])) == 4


def test_a_class_is_named_and_functions_run_around_the_model(run, saved):
    model = nets.Net().eval()
    handler = (
        PytorchModelHandlerTensor(saved(model, "model.safetensors"), "nets:Net", method="classify")
        .with_preprocess_fn(lambda numbers: torch.tensor(numbers))
        .with_postprocess_fn(lambda result: int(result.inference))
    )
    inputs = [[float(i), 1.0, -1.0, 0.5] for i in range(20)]
    expected = model.classify(torch.tensor(inputs)).tolist()
    assert sorted(run.one(RunInference(handler), inputs)) == sorted(expected)


def test_metrics_are_true_and_under_beams_names(run, saved):
    handler = PytorchModelHandlerTensor(saved(nets.Answers()), nets.Answers)
    run.one(RunInference(handler), [torch.ones(4) for _ in range(10)])
    found = run.result.metrics().query(
        beam.metrics.MetricsFilter().with_namespace("BeamML_PyTorch").with_name("num_inferences")
    )
    assert sum(counter.committed for counter in found["counters"]) == 10
    sizes = run.distribution("inference_request_batch_byte_size")
    assert sum(distribution.sum for distribution in sizes) == 10 * 16


def test_a_file_that_does_not_load_fails_the_job_with_its_name(run, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"<html>Sign in</html>")
    with pytest.raises(Exception, match="an HTML page") as raised:
        run.one(RunInference(PytorchModelHandlerTensor(str(path), nets.Net)), [torch.ones(4)])
    assert "ModelLoadError" in str(raised.value) or isinstance(raised.value, ModelLoadError)


def test_padding_alone_has_batches_cut_by_length(run, saved):
    model = nets.Tagger().eval()
    padding = Padding(mask="attention_mask")
    handler = PytorchModelHandlerKeyedTensor(saved(model), nets.Tagger, padding=padding)
    examples = [{"input_ids": torch.ones(n).long()} for n in [5, 500, 6, 510] * 5]
    results = run.one(RunInference(handler, batching=BatchConfig(min_size=20)), examples)
    assert len(results) == 20
    for result in results:
        assert len(result.inference["tags"]) == len(result.example["input_ids"])
    [real] = run.distribution("inference_request_batch_tokens")
    [padded] = run.distribution("inference_request_batch_padded_tokens")
    assert real.sum == 5 * (5 + 500 + 6 + 510)
    assert real.sum < padded.sum < 1.05 * real.sum

"""Texts become what the task's pipeline makes of them, whatever batch they are in."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tiny
import torch
import transformers

from runinference import BatchConfig, Execution, RunInference, RunTableInference
from runinference.errors import ConfigurationError, ExampleError
from runinference_transformers import TransformersPipelineHandler

TASKS = list(tiny.TASKS)
AGGREGATIONS = ["none", "simple", "first", "average", "max"]


def predict(folder, task, examples, **options):
    handler = TransformersPipelineHandler(folder, task, **options)
    return handler.run_inference(examples, handler.load_model())


def pipeline(folder, task, **options):
    return transformers.pipeline(task, model=folder, tokenizer=folder, device="cpu", **options)


def test_labels_are_the_pipelines(folders):
    folder = folders["text-classification"]
    found = predict(folder, "text-classification", tiny.TEXTS)
    expected = pipeline(folder, "text-classification")(tiny.TEXTS)
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    assert len({one["label"] for one in found}) > 1
    np.testing.assert_allclose(
        [one["score"] for one in found], [one["score"] for one in expected], rtol=1e-5
    )


def test_labels_of_a_model_of_several_labels(tmp_path):
    task = "text-classification"
    folder = tiny.save(task, tmp_path, problem_type="multi_label_classification")
    expected = pipeline(folder, task)(tiny.TEXTS)
    found = predict(folder, task, tiny.TEXTS)
    np.testing.assert_allclose(
        [one["score"] for one in found], [one["score"] for one in expected], rtol=1e-5
    )


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_entities_are_the_pipelines(folders, aggregation):
    folder, task = folders["token-classification"], "token-classification"
    found = predict(folder, task, tiny.TEXTS, aggregation=aggregation)
    ask = pipeline(folder, task, aggregation_strategy=aggregation)
    expected = [ask(text) for text in tiny.TEXTS]
    assert any(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert [list(one) for one in ours] == [list(one) for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.pop("score") == pytest.approx(float(other.pop("score")), rel=1e-5)
            assert one == other


def test_embeddings_are_the_pipelines(folders):
    folder, task = folders["feature-extraction"], "feature-extraction"
    ask = pipeline(folder, task)
    tokens = predict(folder, task, tiny.TEXTS)
    means = predict(folder, task, tiny.TEXTS, pooling="mean")
    for text, found, mean in zip(tiny.TEXTS, tokens, means, strict=True):
        [expected] = ask(text)
        assert found.shape == (len(expected), 16)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(mean, np.mean(expected, axis=0), atol=1e-5)


# In pipelines


@pytest.mark.parametrize("task", TASKS)
def test_in_a_pipeline_padding_is_small(run, folders, task):
    texts = ["good", "the film was good and the film was great ."] * 20
    transform = RunInference(
        "transformers-pipeline",
        model_uri=folders[task],
        task=task,
        batching=BatchConfig(min_size=40, max_size=40, max_tokens=240),
    )
    results = run.one(transform, texts)
    assert sorted(result.example for result in results) == sorted(texts)
    assert all(result.model_id.startswith(f"{folders[task]}@") for result in results)
    [tokens] = run.distribution("inference_request_batch_tokens")
    [padded] = run.distribution("inference_request_batch_padded_tokens")
    assert tokens.sum == padded.sum == 20 * 3 + 20 * 12


def test_threads(run, folders):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        transform = RunInference(
            "transformers-pipeline",
            model_uri=folders["text-classification"],
            task="text-classification",
            execution=Execution(threads=1),
        )
        run.one(transform, ["good"])
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


# Tables


def scored(run, folders, task, texts, **options):
    transform = RunTableInference(
        "transformers-pipeline", model_uri=folders[task], task=task, features=["text"], **options
    )
    table = pa.table({"id": range(len(texts)), "text": texts})
    [scored] = run.one(transform, [table])
    assert scored.column("id").to_pylist() == list(range(len(texts)))
    return scored


def test_labels_of_a_table(run, folders):
    texts = tiny.TEXTS * 5
    table = scored(run, folders, "text-classification", texts)
    expected = predict(folders["text-classification"], "text-classification", texts)
    assert table.column("prediction_label").to_pylist() == [one["label"] for one in expected]
    np.testing.assert_allclose(
        table.column("prediction_score"), [one["score"] for one in expected], rtol=1e-5
    )


def test_entities_of_a_table_have_one_type(run, folders):
    table = scored(run, folders, "token-classification", tiny.TEXTS)
    task = "token-classification"
    expected = predict(folders[task], task, tiny.TEXTS)
    words = [[entity["word"] for entity in one] for one in table.column("prediction").to_pylist()]
    assert words == [[entity["word"] for entity in one] for one in expected]
    without = scored(run, folders, "token-classification", [""])
    assert without.schema.field("prediction") == table.schema.field("prediction")
    grouped = scored(run, folders, "token-classification", [""], aggregation="simple")
    names = [field.name for field in grouped.schema.field("prediction").type.value_type]
    assert names == ["entity_group", "score", "word", "start", "end"]


def test_embeddings_of_a_table(run, folders):
    task = "feature-extraction"
    table = scored(run, folders, task, tiny.TEXTS, pooling="mean")
    assert table.schema.field("prediction").type == pa.list_(pa.float32(), 16)
    expected = predict(folders[task], task, tiny.TEXTS, pooling="mean")
    np.testing.assert_allclose(table.column("prediction").to_pylist(), expected, atol=1e-5)
    table = scored(run, folders, task, tiny.TEXTS)
    lengths = [len(one) for one in table.column("prediction").to_pylist()]
    assert lengths == [len(one) for one in predict(folders[task], task, tiny.TEXTS)]


# Errors


def test_a_text_that_is_too_long_leaves_as_a_failure(run, folders):
    task = "text-classification"
    transform = RunInference(
        "transformers-pipeline", model_uri=folders[task], task=task
    ).with_exception_handling()
    texts = [*tiny.TEXTS, "good " * 30]
    with run.pipeline() as pipeline:
        results, failures = pipeline | beam.Create(texts) | transform
        run.keep(results)
        run.keep(failures.failed_inferences, "failures")
    assert sorted(result.example for result in run.elements()) == sorted(tiny.TEXTS)
    [failure] = run.elements("failures")
    assert failure.example == texts[-1]
    assert "truncate=True" in failure.message


@pytest.mark.parametrize("example", [None, 1, ["good"], {"text": "good"}, b"good"])
def test_examples_that_are_no_texts(folders, example):
    folder, task = folders["text-classification"], "text-classification"
    good, failed = predict(folder, task, ["good", example])
    assert good == predict(folder, task, ["good"])[0]
    with pytest.raises(ExampleError, match=r"example 1 is .*, not a text"):
        raise failed.error


def test_texts_that_are_too_long(folders):
    folder, task = folders["feature-extraction"], "feature-extraction"
    long = "good " * tiny.MAX_LENGTH
    good, failed = predict(folder, task, ["good", long])
    assert good.shape == (3, 16)
    with pytest.raises(ExampleError, match=r"has 26 tokens, and the model takes 24: .*truncate=T"):
        raise failed.error
    [found] = predict(folder, task, [long], truncate=True)
    assert found.shape == (tiny.MAX_LENGTH, 16)
    [expected] = predict(folder, task, ["good " * (tiny.MAX_LENGTH - 2)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_limit_of_the_model_where_the_tokenizer_has_none(tmp_path):
    task = "feature-extraction"
    folder = tiny.save(task, tmp_path, tokens=tiny.tokenizer(model_max_length=int(1e30)))
    [failed] = predict(folder, task, ["good " * 30])
    assert "the model takes 24" in str(failed.error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "summarization"}, "task='summarization': known are 'text-classification'"),
        ({"task": "text-classification", "pooling": "mean"}, "pooling is for"),
        ({"task": "feature-extraction", "pooling": "max"}, "pooling='max': known are None, 'mean'"),
        ({"task": "feature-extraction", "aggregation": "max"}, "aggregation is for"),
        ({"task": "token-classification", "aggregation": "last"}, "aggregation='last': known"),
        ({"task": "feature-extraction", "device": "tpu"}, "device='tpu' is not known"),
    ],
)
def test_options_that_cannot_work(options, said):
    with pytest.raises(ConfigurationError, match=said):
        TransformersPipelineHandler("folder", **options)


def test_arguments_are_refused(folders):
    with pytest.raises(ConfigurationError, match=r"takes no inference_args: \['top_k'\]"):
        RunInference(
            "transformers-pipeline",
            model_uri=folders["text-classification"],
            task="text-classification",
            inference_args={"top_k": 3},
        )

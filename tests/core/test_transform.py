"""RunInference on the embedded runner, from examples to results."""

import os
import re
from collections.abc import Iterator
from typing import Tuple  # noqa: UP035 - as users write it

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.transforms import window

from runinference import (
    BatchConfig,
    ExampleFailed,
    Execution,
    KeyedModelHandler,
    MaybeKeyedModelHandler,
    ModelHandler,
    PredictionResult,
    RunInference,
    VectorModelHandler,
)
from runinference.errors import (
    ConfigurationError,
    ExampleFailedError,
    OutputStructureError,
    PredictionCountError,
)

loads = []
calls = []


class Scale(VectorModelHandler):
    """Multiplies the sum of a vector."""

    def __init__(self, factor=2.0, path=None):
        self.factor = factor
        self.model_path = path

    def load_model(self):
        loads.append(self.factor)
        return {"factor": self.factor}

    def collate(self, examples, model):
        calls.append(len(examples))
        return np.stack(examples)

    def predict(self, batch, model, inference_args):
        return batch.reshape(len(batch), -1).sum(axis=1) * model["factor"] + (
            inference_args or {}
        ).get("offset", 0)


class Answers(ModelHandler):
    """Returns what a function makes of the batch."""

    def __init__(self, function):
        self.function = function

    def load_model(self):
        return ("a tuple", "is a model too")

    def run_inference(self, batch, model, inference_args=None):
        return self.function(batch)


@pytest.fixture(autouse=True)
def _fresh():
    loads.clear()
    calls.clear()


def vectors(count):
    return [np.full(3, float(i)) for i in range(count)]


def test_each_example_has_its_prediction(run):
    results = run.one(RunInference(Scale()), vectors(50))
    assert all(isinstance(result, PredictionResult) for result in results)
    assert {r.example[0]: r.inference for r in results} == {float(i): 6.0 * i for i in range(50)}


def test_inference_args_reach_the_model(run):
    [result] = run.one(RunInference(Scale(), inference_args={"offset": 100}), vectors(1))
    assert result.inference == 100


def test_keys_stay_with_their_examples(run):
    results = run.one(
        RunInference(KeyedModelHandler(Scale())), [(f"k{i}", v) for i, v in enumerate(vectors(20))]
    )
    assert {key: result.inference for key, result in results} == {
        f"k{i}": 6.0 * i for i in range(20)
    }


def test_keyed_refuses_an_element_without_a_key(run):
    with pytest.raises(Exception, match=r"takes \(key, example\) pairs.*MaybeKeyedModelHandler"):
        run.one(RunInference(KeyedModelHandler(Scale())), vectors(1))


def test_maybe_keyed_takes_both(run):
    results = run.one(
        RunInference(
            MaybeKeyedModelHandler(Scale().with_postprocess_fn(lambda r: r.inference)),
            batching=BatchConfig(max_size=1),
        ),
        [("a", np.ones(1)), np.ones(2), ("b", np.ones(3))],
    )
    assert sorted(results, key=str) == [("a", 2.0), ("b", 6.0), 4.0]


def test_functions_run_in_beams_order(run):
    handler = (
        Scale()
        .with_preprocess_fn(lambda text: np.asarray([float(text)]))
        .with_preprocess_fn(str.strip)
        .with_postprocess_fn(lambda result: result.inference)
        .with_postprocess_fn(lambda number: f"<{number}>")
    )
    assert sorted(run.one(RunInference(handler), [" 1 ", "2"])) == ["<2.0>", "<4.0>"]


def test_inner_functions_see_the_value_and_outer_ones_the_pair(run):
    inner = Scale().with_preprocess_fn(np.atleast_1d).with_postprocess_fn(lambda r: r.inference)
    keyed = (
        KeyedModelHandler(inner)
        .with_preprocess_fn(lambda pair: (pair[0].upper(), pair[1] + 1))
        .with_postprocess_fn(lambda pair: f"{pair[0]}={pair[1]}")
    )
    assert run.one(RunInference(keyed), [("a", 1.0)]) == ["A=4.0"]


def test_functions_leave_the_first_handler_alone():
    handler = Scale()
    handler.with_preprocess_fn(str.strip)
    assert handler.get_preprocess_fns() == ()


def test_without_batching_an_element_is_a_batch(run):
    results = run.one(
        RunInference(Scale().with_no_batching()), [vectors(3), tuple(vectors(4)), np.ones((2, 3))]
    )
    assert sorted(calls) == [2, 3, 4]
    assert len(results) == 9


def test_without_batching_keyed(run):
    handler = KeyedModelHandler(Scale()).with_no_batching()
    results = run.one(RunInference(handler), [[("a", np.ones(3)), ("b", np.zeros(3))]])
    assert [(key, result.inference) for key, result in results] == [("a", 6.0), ("b", 0.0)]


@pytest.mark.parametrize("element", ["text", {"a": 1}, 3])
def test_without_batching_an_element_that_is_no_batch_is_named(run, element):
    with pytest.raises(Exception, match="an element is a batch, a sequence of examples"):
        run.one(RunInference(Scale().with_no_batching()), [element])


def test_unlabelled_models_side_by_side(run):
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create(vectors(3))
        run.keep(examples | RunInference(Scale(1.0, "models/a.bin")), "a")
        run.keep(examples | RunInference(Scale(10.0, "models/b.bin")), "b")
    assert sorted(r.inference for r in run.elements("a")) == [0, 3, 6]
    assert sorted(r.inference for r in run.elements("b")) == [0, 30, 60]


def test_labels_name_handler_and_model():
    label = RunInference(Scale(path="gs://bucket/models/v3.skops")).label
    assert label == "RunInference(Scale: v3.skops)"
    assert RunInference(KeyedModelHandler(Scale())).label == "RunInference(Scale)"


def test_ensemble_feeds_one_model_with_the_other(run):
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create(vectors(4))
            | "first" >> RunInference(Scale(1.0))
            | beam.Map(lambda result: np.asarray([result.inference]))
            | "second" >> RunInference(Scale(2.0))
        )
    assert sorted(result.inference for result in run.elements()) == [0, 6, 12, 18]


def note_lengths(batch):
    calls.append([len(example) for example in batch])
    return list(batch)


class PostProcessor(beam.DoFn):
    """As Beam's documentation has it."""

    def process(self, element: Tuple[str, PredictionResult]):  # noqa: UP006 - as users write it
        key, prediction_result = element
        yield key, prediction_result.inference


def test_keyed_results_fit_type_hints(run):
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create([("img1", np.ones(3))])
            | RunInference(KeyedModelHandler(Scale()))
            | beam.ParDo(PostProcessor())
        )
    assert run.elements() == [("img1", 6.0)]


def test_keyed_results_do_not_fit_wrong_type_hints():
    @beam.typehints.with_input_types(Tuple[int, PredictionResult])  # noqa: UP006
    class Wrong(beam.DoFn):
        def process(self, element):
            yield element

    with pytest.raises(beam.typehints.TypeCheckError):
        (
            beam.Pipeline()
            | beam.Create([("img1", np.ones(3))])
            | RunInference(KeyedModelHandler(Scale()))
            | beam.ParDo(Wrong())
        )


class OneByOne(Scale):
    def batch_elements_kwargs(self):
        return {"max_batch_size": 1}


def test_batch_elements_kwargs_allow_examples_of_different_shapes(run):
    results = run.one(RunInference(OneByOne()), [np.ones(2), np.ones(5), np.ones((2, 2))])
    assert sorted(result.inference for result in results) == [4, 8, 10]
    assert calls == [1, 1, 1]


def test_the_transforms_batching_is_over_the_handlers(run):
    run.one(RunInference(OneByOne(), batching=BatchConfig(min_size=5, max_size=5)), vectors(10))
    assert calls == [5, 5]


def test_max_weight_is_kept(run):
    batching = BatchConfig(min_size=100, max_size=100, max_weight=10, weight_fn=lambda x: int(x[0]))
    run.one(RunInference(Scale(), batching=batching), [np.full(1, w) for w in (5.0, 5, 5, 20, 1)])
    assert calls == [2, 1, 1, 1]


def test_max_tokens_sorts_by_length_and_keeps_the_order(run):
    batching = BatchConfig(min_size=99, max_size=99, max_tokens=8, length_fn=len)
    handler = Answers(note_lengths)
    texts = ["aaaa", "b", "cccc", "dd", "eeeeeeeeeeee"]
    results = run.one(RunInference(handler, batching=batching), texts)
    assert [result.inference for result in results] == texts
    assert calls == [[1, 2], [4, 4], [12]]


def test_length_boundaries_without_a_wait_are_kept(run):
    batching = BatchConfig(min_size=9, max_size=9, length_fn=len, length_boundaries=[2, 4])
    handler = Answers(note_lengths)
    run.one(RunInference(handler, batching=batching), ["a", "bb", "ccccc", "d", "eee"])
    assert calls == [[1, 1], [2, 3], [5]]


@pytest.mark.parametrize(
    "options", [{}, {"length_fn": len}, {"max_weight": 4, "weight_fn": len}, {"max_size": 2}]
)
def test_waiting_across_bundles(run, options):
    batching = BatchConfig(max_wait_s=60, **options)
    results = run.one(
        RunInference(Answers(lambda batch: [x.upper() for x in batch]), batching=batching),
        ["a", "bb", "ccc", "dd"],
    )
    assert sorted(result.inference for result in results) == ["A", "BB", "CCC", "DD"]


def test_waiting_is_refused_in_windows(run):
    with pytest.raises(ConfigurationError, match=r"max_wait_s=1.*late"), run.pipeline() as pipeline:
        (
            pipeline
            | beam.Create(vectors(1))
            | beam.WindowInto(window.FixedWindows(10))
            | RunInference(Scale(), batching=BatchConfig(max_wait_s=1))
        )


def test_batching_and_no_batching_are_refused_together():
    with pytest.raises(ConfigurationError, match=r"max_size=\.\.\.\) has no effect after with_no"):
        (
            beam.Pipeline()
            | beam.Create([vectors(1)])
            | RunInference(Scale().with_no_batching(), batching=BatchConfig(max_size=3))
        )


def test_max_tokens_needs_a_length():
    with pytest.raises(ConfigurationError, match="Scale has no length"):
        (
            beam.Pipeline()
            | beam.Create(vectors(1))
            | RunInference(Scale(), batching=BatchConfig(max_tokens=3))
        )


def stamped(count):
    return [window.TimestampedValue(vector, float(vector[0])) for vector in vectors(count)]


@pytest.mark.parametrize(
    ("windows", "copies"),
    [
        (window.GlobalWindows(), 1),
        (window.FixedWindows(4), 1),
        (window.SlidingWindows(size=6, period=2), 3),
        (window.Sessions(1.5), 1),
    ],
)
def test_results_keep_time_and_window(run, windows, copies):
    with run.pipeline() as pipeline:
        examples = (
            pipeline
            | beam.Create(stamped(9), reshuffle=False)
            | beam.Map(lambda stamped: stamped)
            | beam.WindowInto(windows)
        )
        run.keep(examples, "in")
        run.keep(examples | RunInference(Scale()), "out")
    expected = sorted(
        zip([e[0] for e in run.elements("in")], run.timestamps("in"), map(str, run.windows("in")))
    )
    found = sorted(
        zip(
            [r.example[0] for r in run.elements("out")],
            run.timestamps("out"),
            map(str, run.windows("out")),
        )
    )
    assert found == expected
    assert len(found) == 9 * copies


@pytest.mark.parametrize("windows", [window.FixedWindows(4), window.SlidingWindows(4, 2)])
def test_without_batching_results_keep_the_batchs_time(run, windows):
    with run.pipeline() as pipeline:
        batches = (
            pipeline
            | beam.Create([window.TimestampedValue(vectors(3), 5.0)])
            | beam.WindowInto(windows)
        )
        run.keep(batches, "in")
        run.keep(batches | RunInference(Scale().with_no_batching()), "out")
    assert set(run.timestamps("out")) == {5.0}
    assert len(run.elements("out")) == 3 * len(run.elements("in"))
    assert set(map(str, run.windows("out"))) == set(map(str, run.windows("in")))


@pytest.mark.parametrize(
    ("windows", "times"),
    [
        (window.GlobalWindows(), {float(window.GlobalWindow().max_timestamp())}),
        (window.FixedWindows(10), {0.0, 1.0, 2.0, 3.0}),  # kept, since that costs nothing there
    ],
)
def test_timestamps_can_be_given_up(run, windows, times):
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create(stamped(4)) | beam.WindowInto(windows)
        run.keep(examples | RunInference(Scale(), preserve_timestamps=False))
    assert set(run.timestamps()) == times
    assert len(run.elements()) == 4


@pytest.mark.parametrize("windows", [window.FixedWindows(1), window.SlidingWindows(2, 1)])
def test_examples_of_several_windows_share_a_call(run, windows):
    calls.clear()
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create(stamped(20)) | beam.WindowInto(windows)
        run.keep(examples, "in")
        batching = BatchConfig(min_size=1000, max_size=1000)
        run.keep(examples | RunInference(Scale(), batching=batching), "out")
    assert calls == [len(run.elements("in"))]
    assert sorted(map(str, run.windows("out"))) == sorted(map(str, run.windows("in")))


def test_time_is_kept_where_examples_wait_across_bundles(run):
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create(stamped(5))
            | RunInference(Scale(), batching=BatchConfig(max_wait_s=60))
        )
    assert sorted(run.timestamps()) == [0, 1, 2, 3, 4]


def test_equal_handlers_load_once(run):
    threads = ("--direct_running_mode=multi_threading", "--direct_num_workers=8")
    with run.pipeline(*threads) as pipeline:
        run.keep(
            pipeline
            | beam.Create(vectors(200))
            | "first" >> RunInference(Scale(3.0).with_postprocess_fn(lambda r: (0, r.example)))
            | beam.GroupByKey()
            | beam.FlatMap(lambda pair: pair[1])
            | "second" >> RunInference(Scale(3.0))
        )
    assert len(run.elements()) == 200
    assert loads == [3.0]


def test_handlers_that_differ_load_each(run):
    run.one(RunInference(Scale(3.0)), vectors(1))
    run.one(RunInference(Scale(4.0)), vectors(1))
    assert loads == [3.0, 4.0]


def test_generators_are_predictions(run):
    results = run.one(RunInference(Answers(lambda batch: (x * 2 for x in batch))), [1, 2, 3])
    assert sorted(result.inference for result in results) == [2, 4, 6]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda batch: list(batch)[1:], r"returned \d predictions for \d examples"),
        (lambda batch: [*batch, 0], r"returned \d predictions for \d examples"),
        (lambda batch: iter(()), r"returned 0 predictions for \d example"),
        (lambda batch: np.ones(len(batch) + 1), r"returned \d predictions for \d examples"),
    ],
)
def test_a_wrong_number_of_predictions_is_an_error(run, function, message):
    with pytest.raises(Exception, match=message) as caught:
        run.one(RunInference(Answers(function)), [1, 2, 3])
    assert has_cause(caught.value, PredictionCountError)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(None, "returned None"), (3, "is 3, not one entry per example"), ("abc", "'abc'")],
)
def test_an_answer_that_is_no_list_is_an_error(run, answer, message):
    with pytest.raises(Exception, match=message) as caught:
        run.one(RunInference(Answers(lambda batch: answer)), [1, 2, 3])
    assert has_cause(caught.value, OutputStructureError)


def test_a_failed_example_fails_the_run(run):
    def function(batch):
        return [ExampleFailed(ValueError("odd")) if x % 2 else x for x in batch]

    with pytest.raises(Exception, match="failed: ValueError: odd") as caught:
        run.one(RunInference(Answers(function)), [2, 3])
    assert has_cause(caught.value, ExampleFailedError)


def test_results_are_not_wrapped_twice(run):
    from apache_beam.ml.inference.base import PredictionResult as BeamResult

    for kind in (PredictionResult, BeamResult):
        results = run.one(
            RunInference(Answers(lambda batch, kind=kind: [kind(x, x + 1, "m") for x in batch])),
            [1],
        )
        assert results == [PredictionResult(1, 2, "m")]
        assert type(results[0]) is PredictionResult


def test_model_id_names_what_predicted(run):
    [result] = run.one(RunInference(Scale(path="models/a.bin")), vectors(1))
    assert result.model_id == "models/a.bin"


class Duck:
    """A handler of no base class, with the two methods alone."""

    def load_model(self):
        return 10

    def run_inference(self, batch, model, inference_args=None):
        return [x + model for x in batch]


def test_any_object_with_the_two_methods_is_a_handler(run):
    assert run.one(RunInference(Duck()), [1]) == [PredictionResult(1, 11, None)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: RunInference(Scale),
            ConfigurationError,
            r"given the class Scale: .*Scale\(\.\.\.",
        ),
        (lambda: RunInference(object()), ConfigurationError, "has no load_model"),
        (lambda: KeyedModelHandler(Scale), ConfigurationError, "KeyedModelHandler was given the c"),
        (lambda: RunInference(Scale(), max_batch_size=3), TypeError, r"BatchConfig\(max_size=\.\."),
        (lambda: RunInference(Scale(), model_uri="x"), TypeError, "options of a handler go to its"),
        (lambda: Scale(max_batch_size=3), TypeError, r"batching=BatchConfig\(max_size=\.\.\.\)"),
        (lambda: Scale(factr=3), TypeError, "factr"),
    ],
)
def test_mistakes_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Unpicklable(Scale):
    def __init__(self):
        super().__init__()
        self.stream = (i for i in range(3))


def test_an_attribute_that_cannot_be_pickled_is_named():
    with pytest.raises(ConfigurationError, match=re.escape("Unpicklable.stream cannot be pickled")):
        beam.Pipeline() | beam.Create(vectors(1)) | RunInference(Unpicklable())


def test_inference_args_are_validated_when_the_pipeline_is_built():
    class Strict(Scale):
        def validate_inference_args(self, inference_args):
            if inference_args:
                raise ValueError("takes no arguments")

    with pytest.raises(ValueError, match="takes no arguments"):
        RunInference(Strict(), inference_args={"a": 1})


def refuse(model):
    raise ValueError(f"refused {model}")


def test_execution_warms_up_and_validates(run, monkeypatch):
    monkeypatch.delenv("RUNINFERENCE_TEST", raising=False)
    execution = Execution(env_vars={"RUNINFERENCE_TEST": "1"}, warmup_examples=vectors(2))
    run.one(RunInference(Scale(5.0), execution=execution), vectors(1))
    assert calls == [2, 1]
    assert os.environ["RUNINFERENCE_TEST"] == "1"
    with pytest.raises(Exception, match="refused"):
        run.one(RunInference(Scale(6.0), execution=Execution(validate_fn=refuse)), vectors(1))


def test_a_model_that_does_not_load_fails_the_run(run):
    class Broken(Scale):
        def load_model(self):
            raise OSError("no such model")

    with pytest.raises(Exception, match="no such model"):
        run.one(RunInference(Broken()), vectors(1))


def has_cause(error, kind):
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


class Batched(beam.DoFn):
    """Takes batches, as sinks of columns do."""

    def process_batch(self, batch: list[PredictionResult]) -> Iterator[list[int]]:
        yield [result.inference for result in batch]

    def infer_output_type(self, input_element_type):
        return int


def test_a_consumer_of_batches_sees_the_results_of_the_end_of_a_bundle(run):
    doubling = Answers(lambda batch: [2 * x for x in batch])
    with run.pipeline() as pipeline:
        results = pipeline | beam.Create(range(7), reshuffle=False) | RunInference(doubling)
        run.keep(results | beam.ParDo(Batched()))
    assert sorted(run.elements()) == [0, 2, 4, 6, 8, 10, 12]


def test_the_prediction_alone(run):
    twice = Answers(lambda batch: [2 * x for x in batch])
    assert run.one(RunInference(twice, output="inference"), [1, 2]) == [2, 4]
    keyed = RunInference(KeyedModelHandler(twice), output="inference")
    assert run.one(keyed, [("a", 1), ("b", 2)]) == [("a", 2), ("b", 4)]
    wrapped = Answers(lambda batch: [PredictionResult(x, -x) for x in batch])
    assert run.one(RunInference(wrapped, output="inference"), [1, 2]) == [-1, -2]
    marked = Answers(
        lambda batch: [ExampleFailed(ValueError("odd")) if x % 2 else x for x in batch]
    )
    with run.pipeline() as pipeline:
        transform = RunInference(marked, output="inference").with_exception_handling()
        results, dead = pipeline | beam.Create([1, 2, 4], reshuffle=False) | transform
        run.keep(results)
        run.keep(dead.failed_inferences, "dead")
    assert run.elements() == [2, 4]
    assert [failure.example for failure in run.elements("dead")] == [1]


def test_the_prediction_alone_has_no_meaning_behind_postprocess_functions():
    handler = Answers(list).with_postprocess_fn(str)
    with pytest.raises(ConfigurationError, match="no effect behind postprocess functions"):
        beam.Pipeline() | beam.Create([1]) | RunInference(handler, output="inference")
    with pytest.raises(ConfigurationError, match=r'output=\'row\'\): "result" or "inference"'):
        RunInference(Answers(list), output="row")

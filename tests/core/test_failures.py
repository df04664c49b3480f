"""Failed examples leave as dead letters, exactly those; the others have their predictions."""

import logging
import math

import apache_beam as beam
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, IntervalWindow, TimestampedValue

from runinference import (
    BatchConfig,
    ExampleFailed,
    Execution,
    Failure,
    KeyedModelHandler,
    MaybeKeyedModelHandler,
    ModelHandler,
    RunInference,
    RunInferenceDLQ,
)
from runinference.batch import RowBatch
from runinference.config import BatchConfig as Config
from runinference.errors import (
    ConfigurationError,
    ExampleFailedError,
    ModelUnavailableError,
    TooManyFailuresError,
)
from runinference.failures import FailurePolicy, Isolation
from runinference.hooks import Observers
from runinference.limits import Limits
from runinference.loader import Loader
from runinference.model import LocalModel
from runinference.solve import solve
from runinference.versions import ModelVersion


class Half(ModelHandler):
    """Halves numbers; 13 and text raise."""

    def load_model(self):
        self.calls = []
        return "half"

    def run_inference(self, batch, model, inference_args=None):
        self.calls.append(list(batch))
        for example in batch:
            if example == 13:
                raise ValueError("13 has no half")
        return [example / 2 for example in batch]


def solved(handler, examples, policy=None, isolation=None, **batching):
    """The predictions by example, the failures by example, and the sizes of the calls."""
    model = LocalModel(ModelVersion(handler, "fingerprint"))
    batch = RowBatch(examples)
    policy = policy or FailurePolicy(Exception)
    limits = Limits(Config(**batching))
    parts, failures = solve(batch, model, limits, None, Observers(), policy, isolation)
    good = {position: value for own, values in parts for position, value in zip(own, values)}
    bad = {position: failed.reason for failed in failures for position in failed.positions}
    assert sorted([*good, *bad]) == list(range(len(examples)))
    return good, bad, [len(call) for call in model._handler.calls]


def apply(run, transform, inputs, *options, windows=None):
    """Results and failures of a bounded run."""
    with run.pipeline(*options) as pipeline:
        created = pipeline | beam.Create(inputs, reshuffle=False)
        if windows is not None:
            created = created | beam.WindowInto(windows)
        results, dead = created | transform
        assert isinstance(dead, RunInferenceDLQ)
        run.keep(results)
        run.keep(dead.failed_inferences, "failed")
        for number, failed in enumerate(dead.failed_preprocessing):
            run.keep(failed, f"before {number}")
        for number, failed in enumerate(dead.failed_postprocessing):
            run.keep(failed, f"after {number}")
    return run.elements(), run.elements("failed")


@pytest.mark.parametrize("bad", [[0], [99], [50], [3, 4], [0, 33, 66, 99]])
def test_exactly_the_bad_examples_fail_and_few_calls_find_them(bad):
    examples = [13 if position in bad else 2 for position in range(100)]
    good, failed, calls = solved(Half(), examples)
    assert sorted(failed) == bad
    assert set(good.values()) == {1.0}
    assert len(calls) - 1 <= 2 * len(bad) * math.ceil(math.log2(100))
    [reason] = set(failed.values())
    assert reason.type == "ValueError"
    assert reason.message == "13 has no half"
    assert "in run_inference" in reason.traceback


def test_without_isolation_every_example_of_the_call_fails_at_once():
    good, failed, calls = solved(
        Half(), [2, 13, 2, 2, 2], FailurePolicy(Exception, isolate=False), max_size=3
    )
    assert (sorted(good), sorted(failed), calls) == ([3, 4], [0, 1, 2], [3, 2])


def test_a_handler_that_refuses_everything_is_not_asked_twice_per_example(caplog):
    isolation = Isolation()
    total = []
    for _ in range(40):
        good, failed, calls = solved(Half(), [13] * 64, isolation=isolation)
        assert not good
        assert len(failed) == 64
        total.append(len(calls))
    # 512 examples in a row have been asked one by one: 8 batches; then one call, and four probes
    assert total == [127] * 8 + [5] * 32
    [said] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "512 examples in a row failed" in said.getMessage()
    # a batch with good examples starts the search again
    good, failed, _ = solved(Half(), [2, 13] * 32, isolation=isolation)
    assert sorted(good) == list(range(0, 64, 2))


def test_probes_are_not_predicted_twice():
    isolation = Isolation(enough=4)
    solved(Half(), [13] * 8, isolation=isolation)
    assert isolation.is_stopped
    handler = Half()
    good, _, _ = solved(handler, [2] * 7 + [13], isolation=isolation)
    assert sorted(good) == list(range(7))


class Marks(Half):
    def run_inference(self, batch, model, inference_args=None):
        self.calls.append(list(batch))
        return [ExampleFailed(ValueError("odd")) if e % 2 else e / 2 for e in batch]


def test_marked_examples_need_no_further_call():
    good, failed, calls = solved(Marks(), [0, 1, 2, 3])
    assert good == {0: 0.0, 2: 1.0}
    assert {reason.message for reason in failed.values()} == {"odd"}
    assert calls == [4]


def test_without_a_policy_the_first_error_is_raised():
    with pytest.raises(ValueError, match="13 has no half"):
        solved(Half(), [2, 13], FailurePolicy())
    with pytest.raises(ExampleFailedError, match="example 1 of a batch of 2 failed: ValueError"):
        solved(Marks(), [2, 1], FailurePolicy())


def test_an_error_of_another_class_is_raised():
    with pytest.raises(ValueError, match="13 has no half"):
        solved(Half(), [2, 13], FailurePolicy((TypeError, KeyError)))


class Down(Half):
    def run_inference(self, batch, model, inference_args=None):
        self.calls.append(list(batch))
        raise ModelUnavailableError("the server is down")


def test_what_has_nothing_to_do_with_the_examples_is_not_divided():
    good, failed, calls = solved(Down(), [1, 2, 3, 4])
    assert (len(good), len(failed), calls) == (0, 4, [4])


class Leaves(Half):
    def run_inference(self, batch, model, inference_args=None):
        self.calls.append(list(batch))
        if 13 in batch:
            raise SystemExit(3)
        return [example / 2 for example in batch]


def test_a_handler_that_leaves_the_program_fails_its_example_alone():
    good, failed, _ = solved(Leaves(), [2, 2, 13])
    assert sorted(good) == [0, 1]
    assert failed[2].message == "Leaves called sys.exit(3) in a call with 1 examples"


class Ruins(Half):
    def run_inference(self, batch, model, inference_args=None):
        self.calls.append(list(batch))
        taken = list(batch)
        batch.clear()
        if 13 in taken:
            raise ValueError("13")
        return [example / 2 for example in taken]


def test_a_handler_that_empties_its_batch_loses_nothing(run):
    good, failed, _ = solved(Ruins(), [2, 4, 13])
    assert (good, list(failed)) == ({0: 1.0, 1: 2.0}, [2])
    results = run.one(RunInference(Ruins()), [2, 4])
    assert sorted(result.example for result in results) == [2, 4]


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.lock = (lambda: one, two)


class RaisesUnpicklable(Half):
    def run_inference(self, batch, model, inference_args=None):
        raise Unpicklable("cannot be pickled", 2)


def test_an_exception_that_cannot_be_pickled_travels_as_text(run):
    handler = RaisesUnpicklable()
    with pytest.raises(Exception, match="every one of the 2 examples failed"):
        apply(run, RunInference(handler).with_exception_handling(), [1, 2])
    assert {failure.message for failure in run.elements("failed")} == {"cannot be pickled"}
    assert {failure.type for failure in run.elements("failed")} == {f"{__name__}.Unpicklable"}


def test_results_and_dead_letters_of_a_run(run):
    results, failed = apply(
        run, RunInference(Half()).with_exception_handling(), [*range(20), "text"]
    )
    assert sorted(result.example for result in results) == [n for n in range(20) if n != 13]
    by_example = {failure.example: failure for failure in failed}
    assert set(by_example) == {13, "text"}
    assert all(isinstance(failure, Failure) for failure in failed)
    assert by_example[13].stage == "inference"
    assert by_example["text"].type == "TypeError"
    assert by_example[13].key is None
    # the identity: in = out + failed
    assert run.counter("num_examples") == 21
    assert run.counter("num_inferences") == 19
    assert run.counter("num_failures") == 2


def test_a_dead_letter_has_its_key(run):
    handler = KeyedModelHandler(Half())
    inputs = [("a", 2), ("b", 13), ("a", 13)]
    results, failed = apply(run, RunInference(handler).with_exception_handling(), inputs)
    assert [(key, result.inference) for key, result in results] == [("a", 1.0)]
    assert sorted((failure.key, failure.example) for failure in failed) == [("a", 13), ("b", 13)]
    handler = MaybeKeyedModelHandler(Half())
    results, failed = apply(
        run, RunInference(handler).with_exception_handling(), [("k", 13), 13, 4]
    )
    assert sorted(str(failure.key) for failure in failed) == ["None", "k"]
    assert [result.inference for result in results] == [2.0]


def test_a_dead_letter_keeps_time_and_window(run):
    stamped = [TimestampedValue(n, n) for n in (1, 13, 25)]
    apply(run, RunInference(Half()).with_exception_handling(), stamped, windows=FixedWindows(10))
    assert run.timestamps("failed") == [13.0]
    assert run.windows("failed") == [IntervalWindow(10, 20)]
    assert sorted(run.timestamps()) == [1.0, 25.0]


def double(example):
    return example * 2


def refuse_six(example):
    if example == 6:
        raise KeyError("six")
    return example


def refuse_four(result):
    if result.inference == 4:
        raise RuntimeError("four")
    return result


def test_each_function_has_its_dead_letters(run):
    handler = (
        Half()
        .with_preprocess_fn(double)
        .with_preprocess_fn(refuse_six)
        .with_postprocess_fn(refuse_four)
    )
    results, failed = apply(run, RunInference(handler).with_exception_handling(), [1, 6, 4, 5])
    assert sorted(result.inference for result in results) == [1.0, 5.0]
    assert not failed
    # the function that was added last is applied first, as in Beam
    [before] = run.elements("before 0")
    assert not run.elements("before 1")
    assert (before.example, before.stage, before.type) == (6, "preprocess", "KeyError")
    [after] = run.elements("after 0")
    assert (after.example.inference, after.stage, after.message) == (4.0, "postprocess", "four")


def test_functions_on_values_of_pairs_tell_the_key(run):
    handler = KeyedModelHandler(Half().with_preprocess_fn(refuse_six)).with_preprocess_fn(
        double_all
    )
    inputs = [("a", 3), ("b", 1)]
    results, _ = apply(run, RunInference(handler).with_exception_handling(), inputs)
    assert [(key, result.inference) for key, result in results] == [("b", 1.0)]
    [failure] = run.elements("before 1")
    assert (failure.key, failure.example) == ("a", 6)


def double_all(pair):
    return pair[0], pair[1] * 2


def test_the_threshold_counts_examples(run):
    inputs = [2] * 9 + [13]
    batches_of_one_call = BatchConfig(min_size=10, max_size=10)
    transform = RunInference(Half(), batching=batches_of_one_call)
    apply(run, transform.with_exception_handling(threshold=0.1), inputs)
    with pytest.raises(Exception, match="1 of 10 examples failed") as caught:
        apply(run, RunInference(Half()).with_exception_handling(threshold=0.09), inputs)
    assert "10.0%" in str(caught.value)
    assert "first: ValueError: 13 has no half" in str(caught.value)


def test_failures_of_functions_count_too(run):
    handler = Half().with_preprocess_fn(refuse_six).with_postprocess_fn(refuse_four)
    inputs = [6, 8, 2, 2]
    apply(run, RunInference(handler).with_exception_handling(threshold=0.5), inputs)
    with pytest.raises(Exception, match=r"2 of 4 examples failed \(50.0%\)"):
        apply(run, RunInference(handler).with_exception_handling(threshold=0.4), inputs)


@pytest.mark.parametrize(("inputs", "what"), [([13], "the only example"), ([13] * 9, "every one")])
def test_a_run_without_any_result_is_no_success(run, inputs, what):
    with pytest.raises(Exception, match=f"{what}.*failed") as caught:
        apply(run, RunInference(Half()).with_exception_handling(), inputs)
    assert TooManyFailuresError.__name__ in str(caught.value) or isinstance(
        caught.value, TooManyFailuresError
    )


def test_a_run_without_any_example_is_a_success(run):
    assert apply(run, RunInference(Half()).with_exception_handling(), []) == ([], [])


def judged(count, bad, threshold):
    """Results and failures of a window of a stream."""
    events = test_stream.TestStream().advance_watermark_to(0)
    for start in range(0, count, 10):  # in bundles of as many
        values = [13 if number < bad else 2 for number in range(start, start + 10)]
        events = events.add_elements([TimestampedValue(value, 1) for value in values])
    events = events.advance_watermark_to_infinity()
    with beam.Pipeline(runner=BundleBasedDirectRunner()) as pipeline:
        windows = pipeline | events | beam.WindowInto(FixedWindows(10))
        transform = RunInference(Half()).with_exception_handling(threshold=threshold)
        results, dead = windows | transform
        good = results | "Good" >> beam.combiners.Count.Globally().without_defaults()
        failed = dead[0] | "Bad" >> beam.combiners.Count.Globally().without_defaults()
        assert_that(good, equal_to([count - bad] if count > bad else []), label="good")
        assert_that(failed, equal_to([bad]), label="bad")


def test_a_window_of_a_stream_is_judged_once_it_has_enough_examples():
    judged(20, 20, threshold=0.5)
    judged(120, 30, threshold=0.5)
    judged(120, 120, threshold=1.0)
    with pytest.raises(Exception, match="90 of 120 examples failed"):
        judged(120, 90, threshold=0.5)


class Unloadable(Half):
    def load_model(self):
        raise OSError("no such model")


def test_a_model_that_cannot_be_loaded_fails_the_run(run):
    with pytest.raises(Exception, match="no such model"):
        apply(run, RunInference(Unloadable()).with_exception_handling(), [1])
    assert not run.elements("failed")


def test_a_failed_load_leaves_nothing_behind():
    loader = Loader()
    version = ModelVersion(Unloadable(), "unloadable")
    for _ in range(2):
        with pytest.raises(OSError, match="no such model"), loader.lease(version, Observers()):
            pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exc_class": ValueError("x")}, "a class of exceptions"),
        ({"exc_class": ()}, "a class of exceptions"),
        ({"exc_class": (ValueError, SystemExit)}, "a class of exceptions"),
        ({"threshold": 1.5}, "from 0 to 1"),
        ({"threshold": True}, "from 0 to 1"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ConfigurationError, match=message):
        RunInference(Half()).with_exception_handling(**options)


class Log(Half):
    def run_inference(self, batch, model, inference_args=None):
        self.calls.append(list(batch))
        return [math.nan if e < 0 else math.inf if e == 0 else math.log(e) for e in batch]


def test_predictions_that_are_not_finite_pass_or_fail_and_are_counted(run):
    [*results] = run.one(RunInference(Log()), [-1, 0, 1])
    assert len(results) == 3
    assert run.counter("num_nonfinite") == 2
    strict = RunInference(Log(), execution=Execution(on_nonfinite="fail"))
    results, failed = apply(run, strict.with_exception_handling(), [-1, 0, 1])
    assert [result.inference for result in results] == [0.0]
    assert {failure.type for failure in failed} == {"runinference.errors.NonFiniteError"}
    assert run.counter("num_nonfinite") == 2
    strict = RunInference(Log(), execution=Execution(on_nonfinite="fail"))
    with pytest.raises(Exception, match="predicted a number that is not finite"):
        run.one(strict, [-1, 1])
    with pytest.raises(ConfigurationError, match='"pass" or "fail"'):
        Execution(on_nonfinite="raise")

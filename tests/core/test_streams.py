"""Streams: windows, triggers, panes and late data are as if a model were a plain function.

TestStream says which elements come together and how far the watermark and the clock are, which
Beam's bundle-based direct runner alone obeys.
"""

import time
import uuid

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream as Stream  # not a class of tests
from apache_beam.transforms.trigger import (
    AccumulationMode,
    AfterCount,
    AfterProcessingTime,
    AfterWatermark,
    Repeatedly,
)
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    Sessions,
    SlidingWindows,
    TimestampedValue,
)
from apache_beam.utils.windowed_value import PaneInfoTiming

from runinference import BatchConfig, KeyedModelHandler, ModelHandler, RunInference

seen = {}
calls = []

ON_TIME, LATE, EARLY = PaneInfoTiming.ON_TIME, PaneInfoTiming.LATE, PaneInfoTiming.EARLY


class Tenfold(ModelHandler):
    def load_model(self):
        return 10

    def run_inference(self, batch, model, inference_args=None):
        calls.append(list(batch))
        return [model * example for example in batch]


@pytest.fixture(autouse=True)
def _fresh():
    seen.clear()
    calls.clear()


def see(
    element,
    name,
    timestamp=beam.DoFn.TimestampParam,
    window=beam.DoFn.WindowParam,
    pane=beam.DoFn.PaneInfoParam,
):
    key, value = element
    value = sorted(value) if key == "together" else value
    seen[name].append((value, float(timestamp), str(window), pane.timing, pane.index))


def predict(**options):
    """The model, as a step from numbers to numbers."""
    return RunInference(Tenfold(), **options) | beam.Map(lambda result: result.inference)


def plain():
    return beam.Map(lambda number: 10 * number)


def outputs(stream, *steps, grouped=False):
    """What leaves the last step: values, timestamps, windows and panes."""
    name = uuid.uuid4().hex
    seen[name] = []
    options = PipelineOptions([], streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        elements = pipeline | stream
        for number, step in enumerate(steps):
            elements = elements | f"step {number}" >> step
        elements = elements | "Key" >> beam.Map(lambda n: ("together" if grouped else "alone", n))
        if grouped:
            elements = elements | beam.GroupByKey()
        elements | "See" >> beam.Map(see, name)
    return sorted(seen[name], key=str)


def numbers(*timed):
    return [TimestampedValue(number, second) for number, second in timed]


def events():
    """Two numbers in order, one out of order, one late, one too late, and one in another window."""
    return (
        Stream()
        .advance_watermark_to(0)
        .add_elements(numbers((1, 3), (2, 7)))
        .advance_processing_time(20)
        .add_elements(numbers((3, 1), (4, 14)))
        .advance_watermark_to(12)
        .add_elements(numbers((5, 8)))  # late for a window that ends at 10
        .advance_processing_time(20)
        .advance_watermark_to(100)
        .add_elements(numbers((6, 2)))  # after any allowed lateness
        .add_elements(numbers((7, 104)))
        .advance_watermark_to_infinity()
    )


def window_into(windows, lateness=0, trigger=None, mode=AccumulationMode.DISCARDING):
    if trigger is None:
        return beam.WindowInto(windows, allowed_lateness=lateness)
    return beam.WindowInto(windows, trigger, mode, allowed_lateness=lateness)


EARLY_AND_LATE = AfterWatermark(early=Repeatedly(AfterProcessingTime(5)), late=AfterCount(1))

WINDOWINGS = {
    "fixed": lambda: window_into(FixedWindows(10)),
    "fixed, lateness": lambda: window_into(FixedWindows(10), 30),
    "fixed, early and late, discarding": lambda: window_into(FixedWindows(10), 30, EARLY_AND_LATE),
    "fixed, early and late, accumulating": lambda: window_into(
        FixedWindows(10), 30, EARLY_AND_LATE, AccumulationMode.ACCUMULATING
    ),
    "sliding": lambda: window_into(SlidingWindows(20, 10), 30),
    "sliding, accumulating": lambda: window_into(
        SlidingWindows(20, 10), 30, EARLY_AND_LATE, AccumulationMode.ACCUMULATING
    ),
    "sessions": lambda: window_into(Sessions(4), 30),
    "sessions, accumulating": lambda: window_into(
        Sessions(4), 30, EARLY_AND_LATE, AccumulationMode.ACCUMULATING
    ),
}


@pytest.mark.parametrize("windowing", WINDOWINGS.values(), ids=WINDOWINGS)
def test_a_model_leaves_windows_triggers_and_panes_as_a_function_does(windowing):
    expected = outputs(events(), windowing(), plain(), grouped=True)
    assert len(expected) >= 3
    assert outputs(events(), windowing(), predict(), grouped=True) == expected


def test_early_on_time_and_late_panes():
    windowing = WINDOWINGS["fixed, early and late, accumulating"]()
    found = outputs(events(), windowing, predict(), grouped=True)
    assert [
        (value, timing) for value, _, window, timing, _ in found if window == "[0.0, 10.0)"
    ] == [
        ([10, 20, 30, 50], LATE),
        ([10, 20, 30], ON_TIME),
        ([10, 20], EARLY),
    ]


@pytest.mark.parametrize("name", ["fixed, lateness", "fixed, early and late, discarding"])
def test_results_keep_the_panes_that_their_examples_came_in(name):
    def fired():
        grouped = beam.Map(lambda number: (None, number)) | beam.GroupByKey()
        return grouped | beam.FlatMap(lambda pair: pair[1])

    expected = outputs(events(), WINDOWINGS[name](), fired(), plain())
    assert {timing for *_, timing, _ in expected} >= {ON_TIME, LATE}
    assert outputs(events(), WINDOWINGS[name](), fired(), predict()) == expected


@pytest.mark.parametrize("windows", [GlobalWindows(), FixedWindows(10), SlidingWindows(20, 10)])
def test_results_keep_their_examples_time_and_window(windows):
    expected = outputs(events(), window_into(windows), plain())
    assert {timestamp for _, timestamp, *_ in expected} == {3, 7, 1, 14, 8, 2, 104}
    assert outputs(events(), window_into(windows), predict()) == expected


def test_windows_behind_the_model_find_their_results_in_time():
    behind = window_into(FixedWindows(10))
    found = outputs(events(), predict(), behind, grouped=True)
    expected = outputs(events(), plain(), window_into(FixedWindows(10)), grouped=True)
    assert found == expected == outputs(events(), behind, predict(), grouped=True)


class FailsAtFive(Tenfold):
    def run_inference(self, batch, model, inference_args=None):
        if 5 in batch:
            raise ValueError("five")
        return super().run_inference(batch, model)


def test_failures_have_their_examples_time_and_window_too():
    class Both(beam.PTransform):
        def expand(self, examples):
            step = RunInference(FailsAtFive()).with_exception_handling()
            results, dead = examples | step
            results |= "Result" >> beam.Map(lambda result: result.inference)
            failed = dead.failed_inferences | "Example" >> beam.Map(lambda f: 10 * f.example)
            return (results, failed) | beam.Flatten()

    windowing = WINDOWINGS["sliding"]
    expected = outputs(events(), windowing(), plain(), grouped=True)
    assert outputs(events(), windowing(), Both(), grouped=True) == expected


def test_keys_change_nothing():
    class Keyed(beam.PTransform):
        def expand(self, examples):
            results = (
                examples
                | "Pair" >> beam.Map(lambda number: (number % 2, number))
                | RunInference(KeyedModelHandler(Tenfold()))
            )
            return results | "Result" >> beam.Map(lambda pair: pair[1].inference)

    windowing = WINDOWINGS["sessions, accumulating"]
    expected = outputs(events(), windowing(), plain(), grouped=True)
    assert outputs(events(), windowing(), Keyed(), grouped=True) == expected


def one_by_one(examples, stream=None):
    """Each in a bundle of its own, a second apart."""
    stream = stream or Stream().advance_watermark_to(0)
    for number, example in enumerate(examples):
        stream = stream.add_elements([TimestampedValue(example, number)])
    return stream


def waited(stream):
    """So long that whatever waits has waited enough; Beam's batching reads the machine's clock."""
    return stream.advance_processing_time(int(time.time()) + 3600)


def waiting(size, **options):
    return BatchConfig(min_size=size, max_size=size, max_wait_s=60, **options)


def test_without_a_wait_a_batch_is_of_one_bundle():
    outputs(one_by_one(range(6)).advance_watermark_to_infinity(), predict())
    assert calls == [[number] for number in range(6)]


def test_batches_fill_up_across_bundles():
    stream = one_by_one(range(8)).advance_watermark_to_infinity()
    found = outputs(stream, predict(batching=waiting(4)))
    assert calls == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [(value, second) for value, second, *_ in found] == [
        (10 * number, number) for number in range(8)
    ]


def test_a_batch_that_is_not_full_leaves_when_it_has_waited():
    stream = one_by_one([3], waited(one_by_one([0, 1, 2])))
    found = outputs(stream.advance_watermark_to_infinity(), predict(batching=waiting(4)))
    assert calls == [[0, 1, 2], [3]]
    assert sorted(value for value, *_ in found) == [0, 10, 20, 30]


def test_weights_bound_calls_of_batches_that_waited():
    batching = waiting(6, max_weight=10, weight_fn=lambda number: number)
    stream = one_by_one([5, 5, 1, 9, 12, 2]).advance_watermark_to_infinity()
    found = outputs(stream, predict(batching=batching))
    assert calls == [[5, 5], [1, 9], [12], [2]]
    assert len(found) == 6


def test_batches_that_wait_are_of_examples_of_like_length():
    batching = waiting(3, length_fn=lambda number: number, length_boundaries=[10])
    stream = one_by_one([1, 11, 2, 12, 3, 13, 14]).advance_watermark_to_infinity()
    found = outputs(stream, predict(batching=batching))
    assert sorted(calls) == [[1, 2, 3], [11, 12, 13], [14]]
    assert len(found) == 7


@pytest.mark.parametrize(
    ("lateness", "arrived"), [(0, []), (1000, [([0, 10], "[0.0, 10.0)", LATE)])]
)
def test_windows_behind_batches_that_wait_need_lateness(lateness, arrived):
    """Beam's direct runner lets the watermark pass examples that a timer waits for.

    Were this to find them on time, `BatchConfig(max_wait_s=...)` could be allowed in windows.
    """
    held = one_by_one([0, 1]).advance_watermark_to(500)
    stream = waited(held).advance_watermark_to_infinity()
    behind = window_into(FixedWindows(10), lateness)
    found = outputs(stream, predict(batching=waiting(4)), behind, grouped=True)
    assert [(value, window, timing) for value, _, window, timing, _ in found] == arrived
    assert calls == [[0, 1]]

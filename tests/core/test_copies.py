"""What the copies of a step share: made for the first, ended after the last, or kept for more."""

import contextlib

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream as Stream  # not a class of tests

from runinference import KeyedModelHandler, KeyModelMapping, ModelHandler, RunInference
from runinference.copies import Copies
from runinference.hooks import Observers

notes = []


@pytest.fixture(autouse=True)
def _fresh():
    notes.clear()


@pytest.fixture
def copies():
    made = Copies(lambda shared, observers: notes.append(f"{shared} ended"))
    yield made
    made._end_kept()


def make(name):
    def made():
        notes.append(f"{name} made")
        return name

    return made


def visit(copies, step):
    assert copies.enter(step, make(step)) == step
    copies.leave(step, Observers([]))


def test_made_once_for_copies_that_are_there_together_and_ended_after_the_last(copies):
    for _ in range(3):
        assert copies.enter("a", make("a")) == "a"
    for _ in range(3):
        assert notes == ["a made"]
        copies.leave("a", Observers([]))
    assert notes == ["a made", "a ended"]


def test_kept_from_the_second_time_on_that_all_have_left(copies):
    for _ in range(5):
        visit(copies, "a")
    assert notes == ["a made", "a ended", "a made"]


def test_the_last_such_step_is_kept_and_no_other(copies):
    for _ in range(3):
        visit(copies, "a")
    visit(copies, "b")
    assert notes[3:] == ["b made", "b ended"]
    visit(copies, "b")
    assert notes[5:] == ["b made", "a ended"]
    visit(copies, "b")
    visit(copies, "a")
    assert notes[7:] == ["a made", "b ended"]


def test_what_is_kept_is_not_ended_while_it_is_used(copies):
    for _ in range(2):
        visit(copies, "a")
    copies.enter("a", make("a"))
    for _ in range(2):
        visit(copies, "b")
    assert notes[3:] == ["b made", "b ended", "b made"]
    copies.leave("a", Observers([]))
    assert notes[6:] == ["b ended"]


def test_what_is_kept_is_ended_with_the_process(copies):
    for _ in range(2):
        visit(copies, "a")
    copies._end_kept()
    copies._end_kept()
    assert notes == ["a made", "a ended", "a made", "a ended"]


def test_what_cannot_be_made_is_nobodys(copies):
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError):
            copies.enter("a", lambda: 1 / 0)
    visit(copies, "a")
    assert notes == ["a made", "a ended"]


class Noting(ModelHandler):
    def load_model(self):
        notes.append("loaded")
        return str

    def run_inference(self, batch, model, inference_args=None):
        return [model(example) for example in batch]


def note(pair):
    notes.append(pair[1].inference)


@pytest.mark.parametrize("is_keyed", [False, True])
def test_a_runner_that_sets_up_for_each_bundle_loads_a_model_twice(is_keyed):
    # its streams come in bundles of one element, each with a worker that is new
    stream = Stream()
    for number in range(6):
        stream = stream.advance_watermark_to(number).add_elements([(number % 2, number)])
    options = PipelineOptions([], streaming=True)
    handler = KeyedModelHandler(Noting())
    if is_keyed:
        handler = KeyedModelHandler([KeyModelMapping([0, 1], Noting())])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        results = pipeline | stream.advance_watermark_to_infinity() | RunInference(handler)
        results | beam.Map(note)
    assert sorted(note for note in notes if note != "loaded") == list("012345")
    assert notes.count("loaded") == 2

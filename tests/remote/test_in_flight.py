"""Several calls at a time: how many, in which order, and what happens when one fails."""

import threading
import time

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from remote_handlers import Doubling

from runinference import (
    BatchConfig,
    Execution,
    KeyedModelHandler,
    ModelHandler,
    RunInference,
    RunTableInference,
)
from runinference.errors import ConfigurationError
from runinference.hooks import observer, observing

FOUR = {"batching": BatchConfig(max_size=5), "execution": Execution(in_flight=4)}


class Crossing(ModelHandler):
    """Waits until so many calls are made at a time; the first ones end last."""

    most = 0
    _lock = threading.Lock()
    _running = 0

    def __init__(self, together, bad=()):
        self.together = together
        self.bad = bad

    def load_model(self):
        Crossing.most = Crossing._running = 0
        return threading.Barrier(self.together)

    def run_inference(self, batch, model, inference_args=None):
        with Crossing._lock:
            Crossing._running += 1
            Crossing.most = max(Crossing.most, Crossing._running)
        try:
            model.wait(10)
            time.sleep(0.002 * (100 - batch[0]) / 10)
            if set(batch) & set(self.bad):
                raise ValueError(f"bad: {batch}")
            return [-n for n in batch]
        finally:
            with Crossing._lock:
                Crossing._running -= 1


def pipeline_of(run, transform, inputs):
    with run.pipeline() as pipeline:
        run.keep(pipeline | beam.Create(inputs, reshuffle=False) | transform)
    return run.elements()


def test_so_many_at_a_time_each_of_the_size_told_and_results_in_order(run):
    sizes = []

    class Listener:
        @observer
        def batch_predicted(self, event):
            sizes.append(event.size)
            threads.add(threading.get_ident())

    threads = set()
    with observing(Listener()):
        results = pipeline_of(run, RunInference(Crossing(4), **FOUR), list(range(100)))
    assert [(r.example, r.inference) for r in results] == [(n, -n) for n in range(100)]
    assert sizes == [5] * 20
    assert Crossing.most == 4
    assert len(threads) == 1  # Beam counts in the bundle's thread alone
    assert run.counter("num_inferences") == 100


def test_keys_stay_with_their_examples(run):
    transform = RunInference(KeyedModelHandler(Crossing(4)), **FOUR)
    results = pipeline_of(run, transform, [(f"key{n}", n) for n in range(40)])
    assert [(key, r.inference) for key, r in results] == [(f"key{n}", -n) for n in range(40)]


def test_rows_of_tables_stay_in_order(run):
    transform = RunTableInference(Crossing(4), **FOUR)
    tables = [pa.table({"n": range(start, start + 20)}) for start in range(0, 100, 20)]
    scored = pa.concat_tables(pipeline_of(run, transform, tables))
    assert scored["prediction"].to_pylist() == [-n for n in range(100)]
    assert Crossing.most == 4


def test_the_calls_that_are_under_way_end_before_the_bundle_fails(run):
    with pytest.raises(Exception, match="bad: "):
        pipeline_of(run, RunInference(Crossing(4, bad=[17]), **FOUR), list(range(20)))
    assert Crossing._running == 0


def test_the_bad_examples_are_found_among_calls_under_way(run, serve):
    def answer(number, examples):
        time.sleep(0.01)
        if {3, 11, 12} & set(examples):
            return 400, {}, "no"
        return 200, {}, [-n for n in examples]

    server = serve(answer)
    with run.pipeline() as pipeline:
        numbers = pipeline | beam.Create(list(range(40)), reshuffle=False)
        results, letters = (
            numbers | RunInference(Doubling(server.url), **FOUR).with_exception_handling()
        )
        run.keep(results)
        run.keep(letters.failed_inferences, "failures")
    good = [n for n in range(40) if n not in (3, 11, 12)]
    assert [(r.example, r.inference) for r in run.elements()] == [(n, -n) for n in good]
    assert sorted(f.example for f in run.elements("failures")) == [3, 11, 12]
    assert 1 < server.together <= 4


def test_throttling_of_calls_that_wait_together_holds_the_bundle_up_once(run, serve):
    server = serve(lambda number, examples: (200, {}, examples))
    handler = Doubling(server.url, examples_per_s=20)
    pipeline_of(run, RunInference(handler, **FOUR), list(range(60)))
    # twelve calls, a quarter of a second apart: the last one leaves after 2.75 s
    assert 1 <= run.counter("cumulativeThrottlingSeconds") <= 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"Execution\(in_flight=4\) needs to know how large a call is: add batching="),
        ({"batching": BatchConfig(max_size=8, min_size=2)}, r"min_size=.* has no effect beside"),
        ({"batching": BatchConfig(max_size=8, target_duration_s=1)}, r"target_duration_s"),
    ],
)
def test_what_makes_no_sense_beside_it(options, words):
    transform = RunInference(Crossing(4), execution=Execution(in_flight=4), **options)
    with pytest.raises(ConfigurationError, match=words):
        beam.Pipeline(runner=FnApiRunner()) | beam.Create([1]) | transform


def test_a_batch_that_the_user_made_is_one_call():
    handler = Crossing(4).with_no_batching()
    with pytest.raises(ConfigurationError, match="has no effect after with_no_batching"):
        (
            beam.Pipeline(runner=FnApiRunner())
            | beam.Create([[1]])
            | RunInference(handler, execution=Execution(in_flight=2))
        )


def test_tables_need_the_size_of_a_call_too():
    transform = RunTableInference(Crossing(4), execution=Execution(in_flight=4))
    with pytest.raises(ConfigurationError, match="how large a call is"):
        beam.Pipeline(runner=FnApiRunner()) | beam.Create([pa.table({"n": [1]})]) | transform


@pytest.mark.parametrize("number", [0, -1, 2.5, True])
def test_a_number_of_calls_is_needed(number):
    with pytest.raises(ConfigurationError, match="at least 1 is needed"):
        Execution(in_flight=number)

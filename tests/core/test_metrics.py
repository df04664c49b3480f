"""Metrics under Beam's names, with true values; observers hear of every batch."""

import logging
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from apache_beam.coders import registry
from apache_beam.utils import windowed_value

from runinference import (
    BatchConfig,
    ModelHandler,
    PredictionResult,
    RunInference,
    RunTableInference,
    VectorModelHandler,
)
from runinference.coders import TimedExample
from runinference.hooks import BatchPredicted, Observers, observer, observing
from runinference.sizes import num_bytes


class Echo(ModelHandler):
    def load_model(self):
        return object()

    def run_inference(self, batch, model, inference_args=None):
        if any(isinstance(example, str) for example in batch):
            raise ValueError("text")
        return list(batch)


class Named(Echo):
    def get_metrics_namespace(self):
        return "Mine"


def test_metrics_have_beams_names_and_true_values(run):
    images = [np.zeros((3, 224, 224), np.float32) for _ in range(4)]
    run.one(RunInference(Named(), batching=BatchConfig(min_size=2, max_size=2)), images)
    assert run.counter("num_inferences") == 4
    [sizes] = run.distribution("inference_request_batch_size")
    assert (sizes.count, sizes.min, sizes.max) == (2, 2, 2)
    [size] = run.distribution("inference_request_batch_byte_size")
    assert size.max == 2 * 602_112
    for name in ("inference_batch_latency_micro_secs", "model_byte_size"):
        assert run.distribution(name)[0].min >= 0
    [loads] = run.distribution("load_model_latency_milli_secs")
    assert loads.count == 1


class Padded(VectorModelHandler):
    """Pads lists of numbers."""

    def load_model(self):
        return None

    def length(self, example):
        return len(example)

    def collate(self, examples, model):
        return examples

    def predict(self, batch, model, inference_args):
        return [sum(example) for example in batch]


def test_tokens_are_counted_with_and_without_padding(run):
    examples = [[1] * 2, [1] * 900, [1] * 4, [1] * 1000]
    ear = Ear()
    with observing(ear):
        run.one(RunInference(Padded(), batching=BatchConfig(min_size=4, max_size=4)), examples)
    assert [(e.size, e.tokens, e.padded_tokens) for e in ear.heard] == [(2, 6, 8), (2, 1900, 2000)]
    [tokens] = run.distribution("inference_request_batch_tokens")
    [padded] = run.distribution("inference_request_batch_padded_tokens")
    assert (tokens.count, tokens.sum, tokens.max) == (2, 1906, 1900)
    assert (padded.count, padded.sum, padded.max) == (2, 2008, 2000)


def test_tokens_are_not_counted_where_nobody_tells_lengths(run):
    ear = Ear()
    with observing(ear):
        run.one(RunInference(Echo()), [1])
    assert (ear.heard[0].tokens, ear.heard[0].padded_tokens) == (None, None)
    assert not run.distribution("inference_request_batch_tokens")


def namespaces(run):
    return {
        counter.key.metric.namespace
        for counter in run.result.metrics().query()["counters"]
        if counter.key.metric.name == "num_inferences"
    }


def test_namespaces(run):
    run.one(RunInference(Named()), [1])
    assert namespaces(run) == {"Mine"}
    run.one(RunInference(Echo()), [1])
    assert namespaces(run) == {"RunInference"}
    run.one(RunInference(Named(), metrics_namespace="Theirs"), [1])
    assert namespaces(run) == {"Theirs"}


class Own(Echo):
    def override_metrics(self, metrics_namespace=""):
        return True


def test_a_handler_may_report_its_own(run):
    run.one(RunInference(Own()), [1])
    assert namespaces(run) == set()


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (np.zeros((3, 224, 224), np.float32), 602_112),
        (3.5, 8),
        ("abcd", 4),
        (b"abc", 3),
        ([1, 2, 3], 24),
        ([], 0),
        ({"a": np.zeros(10), "b": "xy"}, 82),
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), 32),
        (pd.Series([1.0, 2.0]), 16),
        (scipy.sparse.csr_matrix(np.eye(2)), 36),
        (PredictionResult(np.zeros(2), 1.0, "ab"), 26),
    ],
)
def test_bytes_of_an_example(example, expected):
    assert num_bytes([example, example]) == 2 * expected


class Unpicklable(list):
    def __reduce__(self):
        raise AssertionError("pickled")


def test_bytes_are_not_counted_by_pickling():
    assert num_bytes([Unpicklable([1.0] * 1000)]) == 8000


def test_coders_know_sizes_without_pickling():
    example = Unpicklable([1.0] * 10)
    result = PredictionResult(example, 1.0, "m")
    pane = windowed_value.PANE_INFO_UNKNOWN
    for value in (result, TimedExample((example, 5, pane))):
        assert registry.get_coder(type(value)).estimate_size(value) >= 80
    result, timed = PredictionResult([1], {"a": 2}, None), TimedExample(([1], -5, pane))
    for value in (result, timed):
        coder = registry.get_coder(type(value))
        assert type(coder.decode(coder.encode(value))) is type(value)
        assert coder.decode(coder.encode(value)) == value


class Ear:
    def __init__(self):
        self.heard = []

    @observer
    def batch_predicted(self, event):
        self.heard.append(event)

    @observer
    def batch_failed(self, event):
        self.heard.append(event)


def test_observers_of_this_process_hear_of_batches(run):
    ear = Ear()
    with observing(ear):
        run.one(RunInference(Echo(), batching=BatchConfig(min_size=3, max_size=3)), [1, 2, 3, 4])
    assert [event.size for event in ear.heard] == [3, 1]
    assert all(event.seconds > 0 and event.handler == "Echo" for event in ear.heard)
    heard = len(ear.heard)
    run.one(RunInference(Echo()), [1])
    assert len(ear.heard) == heard


class Stepwise(VectorModelHandler):
    """Takes its time in the steps that are told apart."""

    def load_model(self):
        return None

    def prepare(self, examples, model):
        time.sleep(0.02)
        return [example + 1 for example in examples]

    def collate(self, examples, model):
        time.sleep(0.03)
        return np.array(examples)

    def predict(self, batch, model, inference_args):
        time.sleep(0.06)
        return batch * 2


class Measured(Stepwise):
    def length(self, example):
        return 1


class Keyless(Stepwise):
    def run_inference(self, batch, model, inference_args=None):
        return [example * 2 for example in batch]


def test_observers_see_the_predictions_and_the_time_of_each_step(run):
    ear = Ear()
    batching = BatchConfig(min_size=3, max_size=3)
    with observing(ear):
        for handler in (Stepwise(), Measured(), Keyless()):
            run.one(RunInference(handler, batching=batching), [1, 2, 3])
    together, apart, plain = ear.heard
    assert together.predictions == apart.predictions == [4, 6, 8]
    assert 0.05 <= together.collate_seconds < together.seconds - 0.06
    assert together.prepare_seconds < 0.02  # a part of the call where nobody asks for lengths
    assert 0.03 <= apart.collate_seconds < apart.seconds - 0.06
    assert apart.prepare_seconds >= 0.02
    assert (plain.predictions, plain.collate_seconds) == ([2, 4, 6], None)


def test_the_columns_of_tables_are_seen_too(run):
    ear = Ear()
    with observing(ear):
        run.one(RunTableInference(Stepwise()), [pa.table({"a": [1, 2]})])
    [event] = ear.heard
    assert event.predictions.to_pydict() == {"prediction": [4, 6]}
    assert 0.05 <= event.collate_seconds < event.seconds


class Ledger(Ear):
    def __enter__(self):
        self.heard.append("opened")

    def __exit__(self, kind, error, traceback):
        self.heard.append(kind)


def test_an_observer_may_be_told_of_the_beginning_and_the_end(run):
    ledger = Ledger()
    with pytest.raises(Exception, match="text"), observing(ledger):
        run.one(RunInference(Echo()), ["a"])
    opened, failed, kind = ledger.heard
    assert (opened, failed.size, kind) == ("opened", 1, ValueError)
    run.one(RunInference(Echo()), [1])
    assert len(ledger.heard) == 3


def test_observers_hear_of_failures(run):
    ear = Ear()
    with observing(ear), pytest.raises(Exception, match="text"):
        run.one(RunInference(Echo()), ["a"])
    assert isinstance(ear.heard[0].error, ValueError)


class Deaf:
    @observer
    def batch_predicted(self, event):
        raise RuntimeError("deaf")


def test_an_observer_that_fails_harms_nobody_and_is_reported_once(caplog):
    ear = Ear()
    observers = Observers([ear, Deaf()])
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            observers.batch_predicted(BatchPredicted("h", None, 1, 8, 0.1))
    assert len([record for record in caplog.records if "deaf" in str(record.exc_info)]) == 1


class Misspelt:
    @observer
    def batch_predictd(self, event):
        pass


def test_a_misspelt_method_is_an_error():
    with pytest.raises(Exception, match="batch_predictd"):
        Observers([Misspelt()])

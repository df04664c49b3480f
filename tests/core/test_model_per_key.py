"""A model per key: grouped by model, loaded when asked, bounded, and failing on its own."""

import threading
import time
import uuid

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.transforms.window import SlidingWindows

from runinference import (
    BatchConfig,
    Failure,
    KeyedModelHandler,
    KeyModelMapping,
    ModelHandler,
    RunInference,
    RunTableInference,
    VectorModelHandler,
)
from runinference.batch import CodedKeys
from runinference.config import Execution
from runinference.errors import ConfigurationError
from runinference.hooks import Observers, observer, observing
from runinference.keyed import ModelsByKey
from runinference.keyed_models import KeyedModels, VersionOf
from runinference.keyed_router import KeyedRouter
from runinference.loader import Loader, keyed_loader
from runinference.versions import ModelVersion


class Times(ModelHandler):
    """Multiplies; counts its calls."""

    def __init__(self, factor):
        self.factor = factor

    def load_model(self):
        if self.factor is None:
            raise OSError("no such factor")
        self.model_id = f"times {self.factor}"
        return self.factor

    def run_inference(self, batch, model, inference_args=None):
        return [example * model for example in batch]


class Calls:
    """The batches that models saw, and the models that were loaded and closed."""

    def __init__(self):
        self.sizes = []
        self.alive = self.most = self.loads = 0
        self._lock = threading.Lock()

    @observer
    def batch_predicted(self, event):
        self.sizes.append((event.model_id, event.size))

    @observer
    def model_loaded(self, event):
        with self._lock:
            self.loads += 1
            self.alive += 1
            self.most = max(self.most, self.alive)

    @observer
    def model_closed(self, event):
        with self._lock:
            self.alive -= 1


def mapped(**factors):
    return [KeyModelMapping(list(keys), Times(factor)) for keys, factor in factors.items()]


WHOLE = BatchConfig(min_size=1000, max_size=1000)


def by_key(results):
    return sorted((key, result.inference) for key, result in results)


def test_a_batch_is_grouped_by_model_not_by_key(run):
    handler = KeyedModelHandler(mapped(abcdefgh=2, xy=3))
    calls = Calls()
    inputs = [(key, number) for number, key in enumerate("axbyc")]
    with observing(calls):
        results = run.one(RunInference(handler, batching=WHOLE), inputs)
    assert by_key(results) == [("a", 0), ("b", 4), ("c", 8), ("x", 3), ("y", 9)]
    assert sorted(calls.sizes) == [("times 2", 3), ("times 3", 2)]
    assert [key for key, _ in results] == list("axbyc")  # in the batch's order
    assert {result.model_id for _, result in results} == {"times 2", "times 3"}


def test_each_model_has_its_metrics_under_beams_names(run):
    handler = KeyedModelHandler(mapped(ab=2, x=3))
    run.one(RunInference(handler, batching=WHOLE), [("a", 1), ("b", 1), ("x", 1)])
    assert run.counter("a-_num_inferences") == 2
    assert run.counter("x-_num_inferences") == 1
    assert run.counter("num_inferences") == 3
    [loads] = run.distribution("x-_load_model_latency_milli_secs")
    assert loads.count == 1


def test_models_are_loaded_when_they_are_first_asked_and_closed_at_the_end(run):
    calls = Calls()
    with observing(calls):
        run.one(RunInference(KeyedModelHandler(mapped(a=1, b=2, c=3))), [("a", 1), ("c", 1)])
    assert (calls.loads, calls.alive) == (2, 0)


def test_no_more_models_than_told(run):
    handler = KeyedModelHandler(mapped(a=1, b=2, c=3), max_models_per_worker_hint=2)
    calls = Calls()
    inputs = [("abcab"[n % 5], n) for n in range(50)]
    with observing(calls):
        results = run.one(RunInference(handler, batching=BatchConfig(max_size=1)), inputs)
    factors = {"a": 1, "b": 2, "c": 3}
    assert by_key(results) == sorted((key, n * factors[key]) for key, n in inputs)
    assert calls.most == 2
    assert calls.loads > 3
    assert calls.alive == 0


def test_models_that_are_loaded_predict_first(run):
    handler = KeyedModelHandler(mapped(a=1, b=2, c=3, d=4), max_models_per_worker_hint=2)
    calls = Calls()
    inputs = [(key, n) for n in range(10) for key in "abcd"]
    with observing(calls):
        run.one(RunInference(handler, batching=BatchConfig(min_size=4, max_size=4)), inputs)
    # one after the other, each of the four would be loaded for each of the ten batches
    assert calls.loads == 4 + 9 * 2


def test_many_threads_never_hold_more_models_than_told_and_none_that_predicts_is_closed():
    most, alive, lock = [0], [0], threading.Lock()

    class Model:
        def __init__(self, version):
            self.name, self.model_id = "model", version.fingerprint
            self.size_bound, self.sha256, self.byte_size, self.is_open = None, None, 0, True
            with lock:
                alive[0] += 1
                most[0] = max(most[0], alive[0])

        def close(self):
            self.is_open = False
            with lock:
                alive[0] -= 1

    loader, observers = Loader(load=Model), Observers()
    loader.bound(3)
    versions = [ModelVersion(Times(n), str(n)) for n in range(9)]
    start, errors = threading.Barrier(8), []

    def work(seed):
        for version in versions:
            loader.hold(version)
        start.wait()
        for step in range(30):
            version = versions[(seed * 7 + step * step) % 9]
            with loader.lease(version, observers) as model:
                time.sleep(0.0001)
                if not model.is_open or model.model_id != version.fingerprint:
                    errors.append(version)
        for version in versions:
            loader.release(version, observers)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert most[0] == 3
    assert alive[0] == 0


def test_an_unknown_key_is_named(run):
    handler = KeyedModelHandler(mapped(ab=2))
    with pytest.raises(
        Exception, match=r"no model for key 'z'; there are 'a', 'b'.*default=handler"
    ):
        run.one(RunInference(handler), [("a", 1), ("z", 1)])
    handler = KeyedModelHandler(mapped(ab=2), default=Times(10))
    results = run.one(RunInference(handler), [("a", 1), ("z", 1), (None, 2)])
    assert sorted(result.inference for _, result in results) == [2, 10, 20]


def test_a_key_that_cannot_be_looked_up_is_named(run):
    with pytest.raises(Exception, match=r"key \['a'\] is not hashable"):
        run.one(RunInference(KeyedModelHandler(mapped(a=2))), [(["a"], 1)])


def dead_letters(run, handler, inputs, **options):
    with run.pipeline() as pipeline:
        transform = RunInference(handler, batching=WHOLE).with_exception_handling(**options)
        results, dead = pipeline | beam.Create(inputs, reshuffle=False) | transform
        run.keep(results)
        run.keep(dead.failed_inferences, "failed")
    return run.elements(), run.elements("failed")


def test_a_model_that_cannot_be_loaded_fails_its_own_examples_alone(run):
    handler = KeyedModelHandler([*mapped(a=2), KeyModelMapping(["x"], Times(None))])
    inputs = [("a", 1), ("x", 5), ("a", 2), ("q", 7)]
    results, failed = dead_letters(run, handler, inputs)
    assert by_key(results) == [("a", 2), ("a", 4)]
    assert all(isinstance(failure, Failure) for failure in failed)
    told = {(f.key, f.example, f.stage, f.type) for f in failed}
    assert told == {
        ("x", 5, "load", "OSError"),
        ("q", 7, "load", "runinference.errors.UnknownKeyError"),
    }
    assert run.counter("num_examples") == 4
    assert run.counter("num_failures") == 2
    with pytest.raises(Exception, match="no such factor"):
        run.one(RunInference(handler), inputs)


def test_a_model_that_cannot_be_loaded_is_not_tried_for_every_batch(monkeypatch):
    tried, now = [], [0.0]

    def load(version):
        tried.append(now[0])
        raise OSError("not yet")

    monkeypatch.setattr(keyed_loader, "_load", load)
    models = ModelsByKey(tuple(mapped(a=1)), None, None, None)
    version_of = VersionOf(BatchConfig(), Execution())
    keyed = KeyedModels(models, version_of, clock=lambda: now[0])
    router, observers = KeyedRouter(keyed, uuid.uuid4().hex, may_change=False), Observers()
    router.open(observers)
    [(version, _)] = router.split(["a"], 1)
    for now[0] in range(100):
        with pytest.raises(OSError, match="not yet"), router.lease(version, observers):
            pass
    router.close(observers)
    assert tried == [0, 10, 30, 70]


def factor_for(key):
    if key.startswith("no"):
        raise KeyError(key)
    return Times(int(key))


def test_keys_may_be_added_while_it_runs(run):
    handler = KeyedModelHandler(mapped(a=2), models_for=factor_for)
    results, failed = dead_letters(
        run, handler, [("a", 1), ("7", 1), ("9", 1), ("7", 2), ("no", 1)]
    )
    assert by_key(results) == [("7", 7), ("7", 14), ("9", 9), ("a", 2)]
    assert [failure.key for failure in failed] == ["no"]
    results = run.one(RunInference(KeyedModelHandler(models_for=factor_for)), [("7", 1)])
    assert by_key(results) == [("7", 7)]


def add_one(example):
    return example + 1


def negate(result):
    return result._replace(inference=-result.inference)


def with_functions(key):
    return Times(2).with_preprocess_fn(add_one)


def test_each_models_functions_see_its_own_examples(run):
    mappings = [
        KeyModelMapping(["a"], Times(2).with_preprocess_fn(add_one)),
        KeyModelMapping(["b"], Times(3).with_postprocess_fn(negate)),
        KeyModelMapping(["c"], Times(5)),
    ]
    handler = KeyedModelHandler(mappings, default=Times(7).with_preprocess_fn(add_one))
    results = run.one(RunInference(handler), [("a", 1), ("b", 1), ("c", 1), ("z", 1)])
    assert by_key(results) == [("a", 4), ("b", -3), ("c", 5), ("z", 14)]
    with pytest.raises(Exception, match="add them to the KeyedModelHandler"):
        run.one(RunInference(KeyedModelHandler(models_for=with_functions)), [("a", 1)])


class Small(Times):
    def batch_elements_kwargs(self):
        return {"max_batch_size": 2}


def test_each_models_largest_call_is_its_own(run):
    mappings = [KeyModelMapping(["a"], Small(2)), KeyModelMapping(["b"], Times(3))]
    calls = Calls()
    inputs = [(key, n) for n in range(5) for key in "ab"]
    with observing(calls):
        run.one(
            RunInference(KeyedModelHandler(mappings), batching=BatchConfig(min_size=10)), inputs
        )
    assert sorted(calls.sizes) == [("times 2", 1), ("times 2", 2), ("times 2", 2), ("times 3", 5)]


class Sorted(Times):
    """Its calls take texts of a like length."""

    def batch_elements_kwargs(self):
        return {"length_fn": len, "bucket_boundaries": [3]}


def test_each_models_lengths_are_cut_in_its_group(run):
    mappings = [KeyModelMapping(["a"], Sorted(2)), KeyModelMapping(["b"], Times(3))]
    calls = Calls()
    inputs = [(key, "x" * length) for length in (1, 5, 2, 6) for key in "ab"]
    with observing(calls):
        results = run.one(RunInference(KeyedModelHandler(mappings), batching=WHOLE), inputs)
    assert sorted(calls.sizes) == [("times 2", 2), ("times 2", 2), ("times 3", 4)]
    assert [(key, result.inference) for key, result in results] == [
        (key, text * (2 if key == "a" else 3)) for key, text in inputs
    ]


def test_keys_in_windows_that_overlap(run):
    with run.pipeline() as pipeline:
        pairs = pipeline | beam.Create([("a", 1), ("x", 5)], reshuffle=False)
        overlapping = pairs | beam.WindowInto(SlidingWindows(20, 10))
        run.keep(overlapping | RunInference(KeyedModelHandler(mapped(a=2, x=3))))
    assert by_key(run.elements()) == [("a", 2), ("a", 2), ("x", 15), ("x", 15)]


class TimesColumn(VectorModelHandler):
    def __init__(self, factor, answer=float):
        self.factor = factor
        self.answer = answer

    def load_model(self):
        return self.factor

    def collate_table(self, table, model):
        return table.column("x").to_numpy()

    def predict(self, batch, model, inference_args):
        return (batch * model).astype(self.answer)


def test_a_column_chooses_each_rows_model(run):
    mappings = [KeyModelMapping(["a", "b"], TimesColumn(2)), KeyModelMapping(["c"], TimesColumn(3))]
    handler = KeyedModelHandler(mappings)
    table = pa.table({"customer": ["a", "c", "b", "c"], "x": [1.0, 2.0, 3.0, 4.0]})
    [scored] = run.one(RunTableInference(handler, key="customer"), [table])
    assert scored.column("prediction").to_pylist() == [2.0, 6.0, 6.0, 12.0]
    assert scored.column_names == ["customer", "x", "prediction"]
    coded = table.set_column(0, "customer", table.column(0).dictionary_encode())
    [scored] = run.one(RunTableInference(handler, key="customer"), [coded])
    assert scored.column("prediction").to_pylist() == [2.0, 6.0, 6.0, 12.0]
    with pytest.raises(Exception, match="row 1 of a table of 2 rows: no model for key None"):
        run.one(
            RunTableInference(handler, key="customer"),
            [pa.table({"customer": ["a", None], "x": [1.0, 2.0]})],
        )
    with pytest.raises(Exception, match="key='Customer': the table has no such column; did you"):
        run.one(RunTableInference(handler, key="Customer"), [table])


def test_rows_without_a_model_are_put_aside(run):
    handler = KeyedModelHandler(
        [KeyModelMapping([1], TimesColumn(2)), KeyModelMapping([2], Times(None))]
    )
    table = pa.table({"k": [1, 2, 3, 1], "x": [1.0, 2.0, 3.0, 4.0]})
    with run.pipeline() as pipeline:
        scored, dead = (
            pipeline
            | beam.Create([table])
            | RunTableInference(handler, key="k").with_exception_handling()
        )
        run.keep(scored)
        run.keep(dead.failed_inferences, "failed")
    [scored], [failed] = run.elements(), run.elements("failed")
    assert scored.column("k").to_pylist() == [1, 1]
    assert failed.column("k").to_pylist() == [2, 3]
    assert failed.column("failure_stage").to_pylist() == ["load", "load"]


def test_models_of_one_table_have_to_answer_alike(run):
    handler = KeyedModelHandler(
        [KeyModelMapping([1], TimesColumn(2)), KeyModelMapping([2], TimesColumn(2, int))]
    )
    with pytest.raises(Exception, match="different columns, from different models or calls"):
        run.one(RunTableInference(handler, key="k"), [pa.table({"k": [1, 2], "x": [1.0, 2.0]})])


def test_keys_by_number_are_those_one_by_one():
    models = ModelsByKey(tuple(mapped(ab=1, cd=2)), None, None, None)
    version_of = VersionOf(BatchConfig(), Execution())
    router = KeyedRouter(KeyedModels(models, version_of), uuid.uuid4().hex, may_change=False)
    router.open(Observers())
    keys = list("abcaddba")
    values = sorted(set(keys))
    coded = CodedKeys(values, np.array([values.index(key) for key in keys]))
    plain = [(version, list(where)) for version, where in router.split(keys, 8)]
    assert [(version, list(where)) for version, where in router.split(coded, 8)] == plain
    assert list(coded) == keys
    router.close(Observers())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeyedModelHandler(), "needs a handler, a list of KeyModelMapping, or models_for"),
        (lambda: KeyedModelHandler([]), "needs a handler, a list"),
        (lambda: KeyedModelHandler([("a", Times(1))]), "takes a list of KeyModelMapping, but one"),
        (lambda: KeyedModelHandler(mapped(ab=1, bc=2)), "key 'b' has two models"),
        (lambda: KeyedModelHandler(mapped(a=1), models_for=7), "a function from a key"),
        (lambda: KeyedModelHandler(mapped(a=1), default=Times), "was given the class Times"),
        (
            lambda: KeyedModelHandler(mapped(a=1), max_models_per_worker_hint=0),
            "at least 1 is needed",
        ),
        (lambda: KeyedModelHandler(Times(1), default=Times(2)), "are for a model per key"),
        (lambda: KeyModelMapping([], Times(1)), "at least one key"),
        (lambda: KeyModelMapping("abc", Times(1)), "a list of at least one key"),
        (lambda: KeyModelMapping([["a"]], Times(1)), "not hashable"),
        (lambda: KeyModelMapping(["a"], 7), "no handler"),
        (
            lambda: RunInference(
                KeyedModelHandler([KeyModelMapping(["a"], Times(1).with_no_batching())])
            ),
            "a batch of examples with a model per key is made by the step",
        ),
        (lambda: RunTableInference(KeyedModelHandler(Times(1))), "pass the inner handler"),
        (lambda: RunTableInference(KeyedModelHandler(mapped(a=1))), "one needs the other"),
        (lambda: RunTableInference(Times(1), key="k"), "one needs the other"),
    ],
)
def test_mistakes_are_told_when_the_pipeline_is_built(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()

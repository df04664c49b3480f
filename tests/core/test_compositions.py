"""Two models in one pipeline: arms that stay the same, and a shadow that harms nobody."""

import os
import subprocess
import sys

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runinference import (
    ABTest,
    Arms,
    BatchConfig,
    Comparison,
    Execution,
    KeyedModelHandler,
    KeyModelMapping,
    ModelHandler,
    RunInference,
    RunTableInference,
    Shadow,
    VectorModelHandler,
)
from runinference.errors import ConfigurationError

ARMS = Arms({"old": 0.9, "new": 0.1}, salt="test")


class Times(ModelHandler):
    """Multiplies; refuses what it is told to refuse, and cannot be loaded without a factor."""

    def __init__(self, factor, refused=()):
        self.factor = factor
        self.refused = refused

    def load_model(self):
        if self.factor is None:
            raise OSError("no such model")
        return self.factor

    def run_inference(self, batch, model, inference_args=None):
        for x in batch:
            if x in self.refused:
                raise ValueError(f"{x} is refused")
        return [x * model for x in batch]


def test_a_key_has_the_same_arm_in_every_process_and_release():
    keys = ["user-1", "user-7", "ä", b"\x00\xff", 17, "17", np.int64(17)]
    # these numbers are a promise: a test that goes on must not divide its keys anew
    assert [Arms(dict.fromkeys("abcdefgh", 0.125))(key) for key in keys] == list("dgeebbb")
    code = (
        "import runinference as r; print([r.Arms({'a': .5, 'b': .5}, 's')(i) for i in 'abcdefgh'])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == str([Arms({"a": 0.5, "b": 0.5}, "s")(i) for i in "abcdefgh"])


def test_arms_have_their_shares_and_tests_are_independent():
    keys = range(20_000)
    new = {key for key in keys if ARMS(key) == "new"}
    assert len(new) == pytest.approx(2000, abs=200)
    other = {key for key in new if Arms(ARMS.shares, salt="another")(key) == "new"}
    assert len(other) == pytest.approx(200, abs=70)


@given(key=st.text() | st.integers() | st.binary(), share=st.floats(0, 1), more=st.floats(0, 1))
def test_a_share_that_grows_keeps_its_keys(key, share, more):
    grown = share + (1 - share) * more
    before, after = Arms({"a": share, "b": 1 - share})(key), Arms({"a": grown, "b": 1 - grown})(key)
    assert before == "b" or after == "a"


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_shares_are_one_together(shares):
    with pytest.raises(ConfigurationError, match=r"a share from 0 to 1 for each arm.*1 together"):
        Arms(shares)


@pytest.mark.parametrize("key", [1.0, True, None, ("a",)])
def test_keys_that_could_be_written_in_two_ways_are_refused(key):
    with pytest.raises(ConfigurationError, match="by a text, bytes or a whole number, not by"):
        ARMS(key)


def test_a_column_of_keys():
    keys = pa.chunked_array([["u1", "u2"], ["u1", "u9"]])
    assert ARMS.of_column(keys).to_pylist() == [ARMS(key) for key in keys.to_pylist()]
    assert ARMS.of_column(pa.array([3, 4])).to_pylist() == [ARMS(3), ARMS(4)]


def test_each_element_is_predicted_by_its_arm(run):
    half = Arms({"old": 0.5, "new": 0.5})
    pairs = [(f"user-{number}", number) for number in range(30)]
    steps = {
        "old": RunInference(KeyedModelHandler(Times(10))),
        "new": RunInference(KeyedModelHandler(Times(100))),
    }
    found = run.one(ABTest(half, steps), pairs)
    assert sorted((key, r.example, r.inference, arm) for arm, (key, r) in found) == sorted(
        (key, x, x * {"old": 10, "new": 100}[half(key)], half(key)) for key, x in pairs
    )
    assert {arm for arm, _ in found} == {"old", "new"}


def test_arms_with_dead_letters_and_a_function_for_the_key(run):
    numbers = Arms({"old": 0.5, "new": 0.5})
    with run.pipeline() as pipeline:
        steps = {
            "old": RunInference(Times(10)),
            "new": RunInference(Times(100, refused=range(5))).with_exception_handling(),
        }
        examples = pipeline | beam.Create(range(20), reshuffle=False)
        results, dead = examples | ABTest(numbers, steps, key=lambda x: x)
        assert list(dead) == ["new"]
        run.keep(results)
        run.keep(dead["new"].failed_inferences, "dead")
    refused = [x for x in range(5) if numbers(x) == "new"]
    assert sorted(failure.example for failure in run.elements("dead")) == refused
    assert sorted(r.example for _, r in run.elements()) == [
        x for x in range(20) if x not in refused
    ]


def test_mistakes_in_an_a_b_test(run):
    with pytest.raises(
        ConfigurationError, match=r"a step for each arm.*'old', 'new'.*'old', 'mew'"
    ):
        ABTest(ARMS, {"old": RunInference(Times(1)), "mew": RunInference(Times(2))})
    steps = {"old": RunInference(Times(1)), "new": RunInference(Times(2))}
    with pytest.raises(ConfigurationError, match="an element is 5: tell it key="):
        run.one(ABTest(ARMS, steps), [5])


def test_tables_have_their_arms_as_a_column(run):
    class Scale(VectorModelHandler):
        def __init__(self, factor):
            self.factor = factor

        def load_model(self):
            return self.factor

        def collate_table(self, table, model):
            return table.column("x").to_numpy()

        def predict(self, batch, model, inference_args):
            return batch * model

    half = Arms({"old": 0.5, "new": 0.5})
    table = pa.table({"user": range(12), "x": np.arange(12.0)})
    table = table.append_column("arm", half.of_column(table.column("user")))
    handler = KeyedModelHandler(
        [KeyModelMapping(["old"], Scale(10.0)), KeyModelMapping(["new"], Scale(100.0))]
    )
    [scored] = run.one(RunTableInference(handler, key="arm", features=["x"]), [table])
    for row in scored.to_pylist():
        assert row["arm"] == half(row["user"])
        assert row["prediction"] == row["x"] * {"old": 10, "new": 100}[row["arm"]]


def shadowed(run, examples, handler, step=None, **options):
    with run.pipeline() as pipeline:
        step = step or RunInference(Times(10))
        created = pipeline | beam.Create(examples, reshuffle=False)
        outputs = created | Shadow(step, handler, **options)
        for name, output in outputs._asdict().items():
            if name != "dead_letters":
                run.keep(output, name)
    return outputs


def test_a_shadow_is_compared_with_what_leaves(run):
    def agree(one, other):
        return abs(one - other) < 15

    shadowed(run, [1, 2, 3], Times(16), agree=agree, batching=BatchConfig(min_size=3))
    assert [(r.example, r.inference) for r in run.elements()] == [(1, 10), (2, 20), (3, 30)]
    assert run.elements("comparisons") == [
        Comparison(1, 10, 16, True),
        Comparison(2, 20, 32, True),
        Comparison(3, 30, 48, False),
    ]
    assert run.elements("failures") == []
    assert run.counter("num_agreements") == 2
    assert run.counter("num_disagreements") == 1
    assert run.counter("shadow-_num_inferences") == 3


SHADOWS = {
    "refuses some": (Times(10, refused=[2]), {}, [2]),
    "refuses all": (Times(10, refused=[1, 2, 3]), {}, [1, 2, 3]),
    "cannot be loaded": (Times(None), {}, [1, 2, 3]),
    "cannot be compared": (Times(10), {"agree": lambda one, other: one / (one - 20)}, [2]),
}


@pytest.mark.parametrize("name", SHADOWS)
def test_a_shadow_that_fails_harms_nobody(run, name):
    handler, options, failed = SHADOWS[name]
    shadowed(run, [1, 2, 3], handler, **options)
    assert [(r.example, r.inference) for r in run.elements()] == [(1, 10), (2, 20), (3, 30)]
    assert sorted(failure.example for failure in run.elements("failures")) == failed
    compared = [comparison.example for comparison in run.elements("comparisons")]
    assert compared == [x for x in (1, 2, 3) if x not in failed]
    assert {failure.key for failure in run.elements("failures")} <= {None}


def test_a_shadow_whose_process_ends_harms_nobody(run):
    class Ends(ModelHandler):
        def load_model(self):
            return None

        def run_inference(self, batch, model, inference_args=None):
            os._exit(3)

    shadowed(run, [1, 2], Ends(), execution=Execution(process=True))
    assert [r.inference for r in run.elements()] == [10, 20]
    failures = run.elements("failures")
    assert sorted(failure.example for failure in failures) == [1, 2]
    assert {failure.type for failure in failures} == {"runinference.errors.ModelCrashedError"}


def test_a_shadow_of_keyed_examples_and_of_a_step_with_dead_letters(run):
    step = RunInference(KeyedModelHandler(Times(10, refused=[3]))).with_exception_handling()
    examples = [("a", np.ones(2)), ("b", np.zeros(2)), ("c", np.full(2, 7.0))]
    with run.pipeline() as pipeline:
        created = pipeline | beam.Create([("a", 1), ("b", 2), ("c", 3)], reshuffle=False)
        outputs = created | Shadow(step, Times(10, refused=[2]))
        for name in ("results", "comparisons", "failures"):
            run.keep(getattr(outputs, name), name)
        run.keep(outputs.dead_letters.failed_inferences, "dead")
    assert [(key, r.inference) for key, r in run.elements()] == [("a", 10), ("b", 20)]
    assert run.elements("comparisons") == [Comparison(1, 10, 10, True, "a")]
    assert [(failure.key, failure.example) for failure in run.elements("failures")] == [("b", 2)]
    assert [(failure.key, failure.example) for failure in run.elements("dead")] == [("c", 3)]
    arrays = RunInference(KeyedModelHandler(Times(10)))
    shadowed(run, examples, Times(10.0), arrays)
    assert [c.agrees for c in run.elements("comparisons")] == [True, True, True]


def test_a_shadow_needs_the_examples():
    with pytest.raises(ConfigurationError, match="leave output= and postprocess functions out"):
        Shadow(RunInference(Times(1), output="inference"), Times(2))
    with pytest.raises(ConfigurationError, match="leave output= and postprocess functions out"):
        Shadow(RunInference(Times(1).with_postprocess_fn(str)), Times(2))

"""MLServer behind a proxy that does harm: nothing is lost, nothing doubled, and time is bounded."""

import dataclasses
import threading
import time

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from fault_proxy import Cut, Refuse, Reply, Rewrite, Wait

from runinference import BatchConfig, Execution, RequestPolicy, RunInference, RunTableInference
from runinference.errors import ModelUnavailableError

BATCHING = BatchConfig(max_size=10)
# quick, and without the throttling that many refusals would bring
FEW = RequestPolicy(first_wait_s=0.02, max_wait_s=0.2, give_up_after_s=30, overload_ratio=1000)
BURST = Reply(503)
LIMIT = Reply(429, {"Retry-After": "1"})
GARBAGE = Rewrite(lambda body: body[: len(body) // 2])
NO_JSON = Reply(200, {"Content-Type": "text/html"}, b"<html>try again</html>")


def transform_to(proxy, policy=FEW, in_flight=4, timeout_s=5.0):
    return RunInference(
        "open-inference-http",
        url=proxy.url,
        model_name="digits",
        timeout_s=timeout_s,
        requests=policy,
        batching=BATCHING,
        execution=Execution(in_flight=in_flight),
    )


def scored(run, digits, transform, rows=300):
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create(list(range(rows)), reshuffle=False)
        examples |= beam.Map(lambda row, inputs: (row, inputs[row]), digits.inputs)
        run.keep(examples | beam.Values() | transform)
    return run.elements()


def check(results, digits, rows=300):
    """Every example once, each with the local model's prediction."""
    found = sorted((r.example.tobytes(), int(r.inference)) for r in results)
    wanted = sorted((digits.inputs[n].tobytes(), int(digits.predictions[n])) for n in range(rows))
    assert found == wanted


@pytest.mark.parametrize(
    "faults",
    [
        {1: LIMIT, 9: LIMIT},
        dict.fromkeys(range(5, 15), BURST),
        {2: Cut(), 3: Cut(), 11: Cut(), 29: Cut()},
        {1: Refuse(), 12: Refuse()},
        {4: GARBAGE, 5: NO_JSON, 17: GARBAGE},
        {3: Wait(0.5)},
        {n: [LIMIT, BURST, Cut(), Refuse(), GARBAGE, NO_JSON][n % 6] for n in range(2, 40, 5)},
    ],
    ids=["429", "503-burst", "reset-in-body", "hang-up", "malformed", "slow", "all"],
)
def test_nothing_is_lost_and_nothing_doubled(run, proxy, digits, faults):
    proxy.fault = faults.get
    check(scored(run, digits, transform_to(proxy)), digits)
    harmed = sum(not isinstance(fault, Wait) for fault in faults.values())
    assert proxy.posts == run.counter("requests_counter") == 30 + harmed
    assert run.counter("retried_requests_counter") == harmed
    assert 1 < proxy.together <= 4


def test_an_answer_that_is_too_slow_is_asked_for_again(run, proxy, digits):
    proxy.fault = {2: Wait(30.0)}.get
    begun = time.monotonic()
    check(scored(run, digits, transform_to(proxy, timeout_s=3.0), 100), digits, 100)
    assert time.monotonic() - begun < 25
    assert run.counter("retried_requests_counter") == 1


def test_a_server_that_dies_and_comes_back(run, proxy, digits):
    down = threading.Event()

    def fault(number):
        if number == 10 and not down.is_set():
            down.set()
            return Cut()
        return None

    def outage():
        down.wait(30)
        proxy.stop()
        time.sleep(1.0)
        proxy.start()

    proxy.fault = fault
    thread = threading.Thread(target=outage)
    thread.start()
    check(scored(run, digits, transform_to(proxy)), digits)
    thread.join()
    assert run.counter("retried_requests_counter") >= 4
    assert run.counter("breaker_rejected_calls_counter") == 0


def test_rows_of_tables_through_all_of_it(run, proxy, digits):
    faults = [None, LIMIT, None, Cut(), BURST, None, Refuse(), None, NO_JSON]
    proxy.fault = lambda number: faults[number % 9] if number < 30 else None
    table = pa.table({f"pixel{n}": digits.inputs[:300, n] for n in range(64)})
    transform = RunTableInference(
        "open-inference-http",
        url=proxy.url,
        model_name="digits",
        requests=FEW,
        batching=BATCHING,
        execution=Execution(in_flight=4),
    )
    found = run.one(transform, [table.slice(0, 7), table.slice(7, 203), table.slice(210)])
    rows = pa.concat_tables(sorted(found, key=len))  # 7, 90 and 203 rows
    order = [*range(7), *range(210, 300), *range(7, 210)]
    assert rows["prediction"].to_pylist() == [int(digits.predictions[n]) for n in order]


def test_an_outage_ends_the_run_in_bounded_time_with_one_message(run, proxy, digits):
    proxy.fault = lambda number: BURST
    policy = dataclasses.replace(FEW, give_up_after_s=1)
    begun = time.monotonic()
    with pytest.raises(
        Exception, match=r"the server failed \d+ times in .* the last time with 503"
    ):
        scored(run, digits, transform_to(proxy, policy), 100)
    assert time.monotonic() - begun < 30


def test_in_an_outage_with_dead_letters_no_call_is_divided_and_few_are_made(run, proxy, digits):
    proxy.fault = lambda number: BURST if number > 5 else None
    policy = dataclasses.replace(FEW, give_up_after_s=1, probe_every_s=1000)
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create(list(digits.inputs), reshuffle=False)
        transform = transform_to(proxy, policy)
        results, letters = examples | transform.with_exception_handling()
        run.keep(results)
        run.keep(letters.failed_inferences, "failures")
    failures = run.elements("failures")
    assert len(run.elements()) == 50
    assert len(failures) == len(digits.inputs) - 50
    assert {failure.type.rpartition(".")[2] for failure in failures} == {
        ModelUnavailableError.__name__
    }
    assert run.counter("breaker_rejected_calls_counter") > 100
    assert proxy.posts < 5 + 4 * 100  # what four calls ask in a second, and a probe


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.replace(b'"shape":[10,1]', b'"shape":[10,2]'), "not INT64 of shape"),
        (lambda body: body.replace(b'"shape":[10,1]', b'"shape":[9,1]'), "not INT64 of shape"),
        (
            lambda body: b'{"outputs":[{"name":"p","datatype":"FP32","shape":[2],"data":[1,2]}]}',
            r"returned 2 predictions for 10 examples",
        ),
        (lambda body: b'{"outputs":[]}', "answered without outputs"),
        (
            lambda body: b'{"outputs":[{"name":"p","datatype":"FP32","shape":[10]}]}',
            "without its values",
        ),
    ],
    ids=["wrong-shape", "other-wrong-shape", "too-few", "no-outputs", "no-values"],
)
def test_an_answer_that_does_not_fit_is_an_error_and_no_retry(run, proxy, digits, change, words):
    proxy.fault = lambda number: Rewrite(change)
    with pytest.raises(Exception, match=words):
        scored(run, digits, transform_to(proxy, in_flight=2), 20)
    assert proxy.posts <= 2


def test_what_comes_late_is_thrown_away_with_its_connection(run, proxy, digits):
    """An answer that was given up is not taken for that of a later request."""
    proxy.fault = {1: Wait(1.5), 2: Wait(1.5)}.get
    check(scored(run, digits, transform_to(proxy, FEW, 1, 0.5), 100), digits, 100)
    assert np.unique([r.inference for r in run.elements()]).size > 2

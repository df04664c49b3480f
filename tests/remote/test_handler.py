"""Pipelines whose model answers requests of real HTTP."""

from contextlib import contextmanager

import apache_beam as beam
import pyarrow as pa
import pytest
from remote_handlers import Doubling

from runinference import (
    BatchConfig,
    ExampleFailed,
    Execution,
    RemoteModelHandler,
    RequestPolicy,
    RunInference,
    RunTableInference,
)
from runinference.errors import (
    ModelUnavailableError,
    RequestRefusedError,
)
from runinference.hooks import observer, observing

TEN = BatchConfig(min_size=10, max_size=10)


def doubled(number, examples):
    return 200, {}, [2 * example for example in examples]


def refusing(bad):
    def answer(number, examples):
        if any(example in bad for example in examples):
            return 400, {}, "no"
        return doubled(number, examples)

    return answer


def failing(*statuses, headers=()):
    """The first requests fail with these statuses."""

    def answer(number, examples):
        if number <= len(statuses):
            return statuses[number - 1], dict(headers), "no"
        return doubled(number, examples)

    return answer


@contextmanager
def loaded(handler):
    client = handler.load_model()
    yield client
    handler.close_model(client)


def inferences(results):
    return [result.inference for result in results]


def test_every_example_has_its_prediction(run, serve):
    server = serve(doubled)
    results = run.one(RunInference(Doubling(server.url)), list(range(100)))
    assert sorted(inferences(results)) == [2 * n for n in range(100)]
    assert {result.model_id for result in results} == {"doubling@7"}


def test_one_client_per_process_closed_at_the_end(run, serve):
    server = serve(doubled)
    created, closed = Doubling.created, Doubling.closed
    with run.pipeline("--direct_num_workers=2", "--direct_running_mode=multi_threading") as p:
        numbers = p | beam.Create(list(range(50)))
        run.keep(numbers | "one" >> RunInference(Doubling(server.url)), "one")
        run.keep(numbers | "two" >> RunInference(Doubling(server.url)), "two")
    assert sorted(inferences(run.elements("one"))) == sorted(inferences(run.elements("two")))
    assert (Doubling.created, Doubling.closed) == (created + 1, closed + 1)


def test_requests_that_fail_are_made_again_and_counted(run, serve):
    server = serve(failing(503, 500, 429))
    results = run.one(RunInference(Doubling(server.url), batching=TEN), list(range(30)))
    assert sorted(inferences(results)) == [2 * n for n in range(30)]
    assert run.counter("requests_counter") == 6 == len(server.received)
    assert run.counter("retried_requests_counter") == 3
    assert run.counter("breaker_rejected_calls_counter") == 0
    [latency] = run.distribution("request_latency_micro_secs")
    assert latency.count == 6
    assert run.counter("num_inferences") == 30


def test_throttled_time_is_counted_where_runners_look_for_it(run, serve):
    server = serve(failing(429, headers={"Retry-After": "2"}))
    run.one(RunInference(Doubling(server.url)), [1])
    assert run.counter("cumulativeThrottlingSeconds") in (1, 2)  # whole seconds of nearly two


def test_rates_count_examples(run, serve):
    server = serve(doubled)
    handler = Doubling(server.url, examples_per_s=20)
    run.one(RunInference(handler, batching=TEN), [0] * 40)
    assert run.counter("cumulativeThrottlingSeconds") == 1  # three batches wait half a second each


def test_observers_are_told_of_each_call(run, serve):
    server = serve(failing(503))
    seen = []

    class Listener:
        @observer
        def remote_called(self, event):
            seen.append(event)

    with observing(Listener()):
        run.one(RunInference(Doubling(server.url)), [1])
    [event] = seen
    assert (event.handler, event.model_id, len(event.latencies)) == ("Doubling", "doubling@7", 2)
    assert event.throttled_s > 0


def test_what_the_server_refuses_fails_the_bundle_with_its_words(run, serve):
    server = serve(refusing({7}))
    with pytest.raises(Exception, match=r"Doubling: the server refuses a request of 10 examples"):
        run.one(RunInference(Doubling(server.url), batching=TEN), list(range(10)))
    assert len(server.received) == 1


def test_with_dead_letters_the_refused_examples_are_found(run, serve):
    server = serve(refusing({3, 17}))
    batching = BatchConfig(min_size=32, max_size=32)
    with run.pipeline() as pipeline:
        numbers = pipeline | beam.Create(list(range(32)), reshuffle=False)
        results, letters = (
            numbers
            | RunInference(Doubling(server.url), batching=batching).with_exception_handling()
        )
        run.keep(results)
        run.keep(letters.failed_inferences, "failures")
    assert sorted(inferences(run.elements())) == [2 * n for n in range(32) if n not in (3, 17)]
    failures = run.elements("failures")
    assert sorted(failure.example for failure in failures) == [3, 17]
    assert {failure.type.rpartition(".")[2] for failure in failures} == {"RequestRefusedError"}


@pytest.mark.parametrize("status", [429, 503, 401, 404])
def test_what_has_nothing_to_do_with_examples_is_not_searched_for(run, serve, status):
    def answer(number, examples):
        return (status, {}, "no") if 0 in examples else doubled(number, examples)

    server = serve(answer)
    handler = Doubling(server.url, give_up_after_s=0.3)
    with run.pipeline() as pipeline:
        numbers = pipeline | beam.Create(list(range(20)), reshuffle=False)
        results, letters = numbers | RunInference(handler, batching=TEN).with_exception_handling()
        run.keep(results)
        run.keep(letters.failed_inferences, "failures")
    assert sorted(inferences(run.elements())) == list(range(20, 40, 2))
    failures = run.elements("failures")
    assert sorted(failure.example for failure in failures) == list(range(10))
    assert {failure.type.rpartition(".")[2] for failure in failures} == {"ModelUnavailableError"}
    assert all(len(examples) == 10 for examples in server.received)


def test_a_server_that_reports_per_example(run, serve):
    server = serve(lambda number, examples: (200, {}, [e if e % 5 else None for e in examples]))

    class PerExample(Doubling):
        def request(self, batch, client, inference_args=None):
            answers = super().request(batch, client, inference_args)
            return [ExampleFailed(ValueError("none")) if a is None else a for a in answers]

    with run.pipeline() as pipeline:
        numbers = pipeline | beam.Create(list(range(1, 21)), reshuffle=False)
        results, letters = numbers | RunInference(PerExample(server.url)).with_exception_handling()
        run.keep(results)
        run.keep(letters.failed_inferences, "failures")
    assert sorted(f.example for f in run.elements("failures")) == [5, 10, 15, 20]
    assert len(run.elements()) == 16
    assert len(server.received) < 20  # nothing was asked again


def test_too_few_predictions_are_an_error_that_names_the_request(run, serve):
    server = serve(lambda number, examples: (200, {}, examples[:-1]))
    with pytest.raises(Exception, match=r"Doubling.request\(\) returned 4 predictions for 5"):
        run.one(RunInference(Doubling(server.url), batching=TEN), [1, 2, 3, 4, 5])
    assert len(server.received) == 1


def test_a_generator_fails_within_the_retries(serve):
    server = serve(failing(503))

    class Lazy(Doubling):
        def request(self, batch, client, inference_args=None):
            yield from super().request(batch, client, inference_args)

    handler = Lazy(server.url)
    with loaded(handler) as client:
        assert handler.run_inference([1, 2], client) == [2, 4]


def test_a_server_that_is_gone_fails_with_one_clear_message():
    handler = Doubling("http://127.0.0.1:9", give_up_after_s=0.2)
    with loaded(handler) as client:
        with pytest.raises(
            ModelUnavailableError, match=r"failed \d+ times in .*Connection refused"
        ):
            handler.run_inference([1], client)
        with pytest.raises(ModelUnavailableError, match=r"has failed for .*Connection refused"):
            handler.run_inference([1], client)


def test_making_the_client_is_retried_too(serve):
    server = serve(failing(503, 503))

    class Asking(Doubling):
        def create_client(self):
            with super().create_client() as client:
                return super().request([21], client)[0]

        def request(self, batch, client, inference_args=None):
            return [client] * len(batch)

        def close_client(self, client):
            pass

    handler = Asking(server.url)
    assert handler.run_inference([1], handler.load_model()) == [42]
    assert len(server.received) == 3


def test_a_handler_that_was_used_can_be_sent_to_workers(run, serve):
    server = serve(doubled)
    handler = Doubling(server.url)
    with loaded(handler) as client:
        handler.run_inference([1], client)
    assert inferences(run.one(RunInference(handler), [4])) == [8]


def test_tables(run, serve):
    server = serve(doubled)
    table = pa.table({"n": range(1000), "name": ["x"] * 1000})
    transform = RunTableInference(
        Doubling(server.url), batching=BatchConfig(max_size=100), execution=Execution(in_flight=4)
    )
    [scored] = run.one(transform, [table])
    assert scored["prediction"].to_pylist() == [2 * n for n in range(1000)]
    assert sorted(map(len, server.received)) == [100] * 10


def test_own_errors_pass_and_name_what_is_missing():
    class Nothing(RemoteModelHandler):
        pass

    with pytest.raises(TypeError, match=r"Nothing has to define create_client\(\)"):
        Nothing().load_model()

    class NoRequest(RemoteModelHandler):
        def create_client(self):
            return object()

    handler = NoRequest()
    with pytest.raises(TypeError, match=r"NoRequest has to define request\(\)"):
        handler.run_inference([1], handler.load_model())
    handler.close_model(object())  # a client without close() is no error


def test_policies_of_their_own_statuses(serve):
    server = serve(failing(500))
    handler = Doubling(server.url, RequestPolicy(retry_statuses=[503]))
    with loaded(handler) as client, pytest.raises(RequestRefusedError, match="500"):
        handler.run_inference([1], client)

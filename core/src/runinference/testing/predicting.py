"""Checks: one prediction per example, in order, whatever the batch they come in."""

from __future__ import annotations

import threading
from typing import Any

from runinference.errors import InferenceError
from runinference.results import ExampleFailed
from runinference.testing.subject import Subject, does_not_apply, fail
from runinference.testing.values import are_alike

__all__ = [
    "check_batch_equals_singles",
    "check_empty_batch",
    "check_exceptions_reach_the_caller",
    "check_lengths",
    "check_one_prediction_per_example",
    "check_predictions_are_in_order",
    "check_threads_share_a_model",
]

_THREADS = 4
_ROUNDS = 8


def check_one_prediction_per_example(subject: Subject) -> None:
    """As many predictions as examples, for batches of every size, none of them absent."""
    loaded = subject.load()
    examples = subject.examples(loaded)
    for size in range(1, len(examples) + 1):
        with subject.calling("run_inference()", subject.needs):
            try:
                predictions = subject.ask(loaded, examples[:size])
            except InferenceError as error:  # of counts and structures; it says what to do
                fail(str(error))
        for position, prediction in enumerate(predictions):
            if prediction is None or isinstance(prediction, ExampleFailed):
                fail(
                    f"{subject.name}.run_inference() answered {prediction!r:.100} for example "
                    f"{position} of {size}: predict every example that the checks are given (or "
                    "give others)"
                )


def check_predictions_are_in_order(subject: Subject) -> None:
    """Each prediction stands where its example does, in the given order and the other way round."""
    loaded = subject.load()
    alone = [subject.predict(loaded, [example])[0] for example in subject.examples(loaded)]
    if are_alike(alone):
        fail(
            f"{subject.name} predicts {alone[0]!r:.100} for all examples, so that their order "
            "cannot be told: give examples= that the model tells apart"
        )
    for step in (1, -1):
        expected = alone[::step]
        found = subject.predict(loaded, subject.examples(loaded)[::step])
        for position, prediction in enumerate(found):
            if not subject.difference(prediction, expected[position]):
                continue
            others = (
                n for n, other in enumerate(expected) if not subject.difference(prediction, other)
            )
            if (other := next(others, None)) is not None:
                fail(
                    f"{subject.name}.run_inference() gives example {position} the prediction of "
                    f"example {other} of the batch: return predictions in the examples' order"
                )


def check_batch_equals_singles(subject: Subject) -> None:
    """An example's prediction does not depend on the batch that it is in."""
    loaded = subject.load()
    together = subject.predict(loaded, subject.examples(loaded))
    for position, example in enumerate(subject.examples(loaded)):
        [alone] = subject.predict(loaded, [example])
        if apart := subject.difference(together[position], alone):
            fail(
                f"{subject.name} predicts example {position} in a batch of {len(together)} "
                f"otherwise than alone: {apart}. Mask what was padded, and normalise by nothing "
                "that belongs to the batch; rtol= and atol= say how near is near enough"
            )


def check_empty_batch(subject: Subject) -> None:
    """No examples have no predictions, or are an error; they are never sent to a handler."""
    handler, model = loaded = subject.load()
    subject.predict(loaded, subject.examples(loaded))  # leaves nothing behind
    try:
        answer = handler.run_inference([], model, subject.inputs.inference_args)
        count = 0 if answer is None else len(list(answer))
    except Exception:  # noqa: BLE001  # an error is an answer, and so is what has no length
        count = 0
    if count:
        fail(
            f"{subject.name}.run_inference() answered {count} predictions for no examples: "
            "answer only for what it is given, and keep nothing from one call to the next"
        )


def check_exceptions_reach_the_caller(subject: Subject) -> None:
    """An example that cannot be predicted raises, or is marked; the model works on afterwards."""
    loaded = subject.load()
    expected = subject.predict(loaded, subject.examples(loaded))
    examples = subject.examples(loaded)
    bad = subject.inputs.bad_example
    try:
        answer = subject.ask(loaded, [*examples, bad])
    except InferenceError as error:
        fail(
            f"{subject.name} hides what went wrong with {bad!r:.60}: {error}. Let the exception "
            "leave run_inference(), or put ExampleFailed(error) in the example's place"
        )
    except Exception:  # noqa: BLE001  # any will do: it is the author's
        pass
    except SystemExit:
        fail(
            f"{subject.name}.run_inference() raised SystemExit, which ends the worker: raise an "
            "Exception, such as runinference.errors.ExampleError"
        )
    else:
        if not isinstance(answer[-1], ExampleFailed):
            fail(
                f"{subject.name} predicts {answer[-1]!r:.100} for {bad!r:.60}: raise for what the "
                "model cannot take, or put ExampleFailed(error) in its place (where it takes "
                "anything, give bad_example=)"
            )
    if apart := subject.difference(subject.predict(loaded, subject.examples(loaded)), expected):
        fail(
            f"{subject.name} predicts otherwise after a call that failed: {apart}. Keep nothing "
            "from one call to the next"
        )


def check_lengths(subject: Subject) -> None:
    """``length`` tells a number for each prepared example, and these predict as the examples do."""
    length = getattr(subject.handler, "length", None)
    if length is None:
        does_not_apply("the handler has no length()")
    loaded = subject.load()
    handler, model = loaded
    expected = subject.predict(loaded, subject.examples(loaded))
    with subject.calling("prepare()", "it has to take the examples that are given"):
        prepared = handler.prepare(subject.examples(loaded), model)
    if len(prepared) != len(expected):
        fail(
            f"{subject.name}.prepare() made {len(prepared)} prepared examples of {len(expected)}: "
            "exactly one each, in order, is needed"
        )
    with subject.calling("length()", "it has to take what prepare() returns for an example"):
        lengths = [handler.length(example) for example in prepared]
    for position, found in enumerate(lengths):
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            fail(
                f"{subject.name}.length() of prepared example {position} is {found!r:.60}: a whole "
                "number is needed, such as how many tokens it has"
            )
    # in ascending order, as batches are cut
    order = sorted(range(len(prepared)), key=lengths.__getitem__)
    with subject.calling("run_prepared()", "it has to predict what prepare() returned"):
        answer = handler.run_prepared(
            [prepared[position] for position in order], model, subject.inputs.inference_args
        )
        found = list(answer)
    if apart := subject.difference(found, [expected[position] for position in order]):
        fail(
            f"{subject.name} predicts prepared examples, sorted by length, otherwise: {apart}. "
            "run_inference() has to be prepare() and run_prepared() in a row"
        )


def check_threads_share_a_model(subject: Subject) -> None:
    """Threads that ask one model at the same time each get their own predictions."""
    loaded = subject.load()
    expected = subject.predict(loaded, subject.examples(loaded))
    start = threading.Barrier(_THREADS)
    problems: list[str] = []

    def ask(number: int) -> None:
        # each thread has another order, so that the answer to another is not its own
        turn = number % len(expected)
        wanted = expected[turn:] + expected[:turn]
        start.wait()
        for _ in range(_ROUNDS):
            examples = subject.examples(loaded)
            found: Any
            try:
                found = subject.ask(loaded, examples[turn:] + examples[:turn])
            except Exception as error:  # noqa: BLE001  # told below, in the thread of the test
                problems.append(f"{type(error).__name__}: {error}")
                return
            if apart := subject.difference(found, wanted):
                problems.append(apart)
                return

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        fail(
            f"{_THREADS} threads that ask one loaded {subject.name} disturb each other: "
            f"{problems[0]}. Keep nothing of a call in the handler; where the library is not safe "
            "for threads, make a lock in load_model(), beside the model"
        )

"""Checks: whose memory examples and predictions are, and how many bytes they have."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

from runinference.outputs import read_predictions
from runinference.rendering import SHARED_BYTES
from runinference.sizes import num_bytes
from runinference.testing.subject import Subject, does_not_apply, fail
from runinference.testing.values import borrowed, difference

__all__ = [
    "check_batch_is_not_changed",
    "check_bytes_are_counted",
    "check_outputs_own_their_memory",
    "check_results_outlast_the_next_call",
]

# Between the core's own count and the author's, who may count a number as 4 bytes or as 32.
_FACTOR = 4
_EXPENSIVE = {"deepcopy", "dump", "dumps", "tobytes", "tolist"}


def check_batch_is_not_changed(subject: Subject) -> None:
    """The batch and its examples are after a call what they were before."""
    loaded = subject.load()
    examples = subject.examples(loaded)
    batch = list(examples)
    before = copy.deepcopy(examples)
    subject.predict(loaded, batch)
    if len(batch) != len(examples) or any(a is not b for a, b in zip(batch, examples, strict=True)):
        fail(
            f"{subject.name}.run_inference() changes the list of examples that it is given: make a "
            "list of its own to sort, extend or empty"
        )
    for position, example in enumerate(examples):
        if apart := difference(example, before[position]):
            fail(
                f"{subject.name}.run_inference() changes example {position}: {apart}. Others hold "
                "it too, and a failed bundle predicts it again: copy what is to be changed"
            )


def check_outputs_own_their_memory(subject: Subject) -> None:
    """A prediction that is kept does not keep the whole batch in memory."""
    loaded = subject.load()
    examples = subject.examples(loaded)
    if not any(map(borrowed, subject.predict(loaded, examples))):
        return
    # small ones may be in their neighbours' memory, which does not grow with the batch
    batch = examples * (1 + SHARED_BYTES // len(examples))
    for position, prediction in enumerate(subject.predict(loaded, batch)):
        if view := borrowed(prediction, SHARED_BYTES):
            fail(
                f"{subject.name}: the prediction of example {position} keeps its whole batch in "
                f"memory: {view}. Copy each row (row.copy(), row.clone()), or return the array "
                "itself instead of a list of its rows"
            )


def check_results_outlast_the_next_call(subject: Subject) -> None:
    """Predictions stay what they were while the next batch is predicted, generators too."""
    handler, model = loaded = subject.load()
    examples = subject.examples(loaded)
    expected = copy.deepcopy(subject.predict(loaded, examples))
    args = subject.inputs.inference_args
    source = f"{subject.name}.run_inference()"
    with subject.calling("run_inference()", "it has to predict two batches one after the other"):
        first = handler.run_inference(examples, model, args)
        second = handler.run_inference(subject.examples(loaded)[::-1], model, args)
        read_predictions(second, len(examples), source=source)
        found = read_predictions(first, len(examples), source=source)
    if apart := subject.difference(found, expected):
        fail(
            f"{subject.name}: predictions change when the next batch is predicted: {apart}. Give "
            "each call its own output arrays, and let a generator read nothing that the handler "
            "keeps of a call"
        )


def check_bytes_are_counted(subject: Subject) -> None:
    """``get_num_bytes`` tells about the examples' true size, without serialising them."""
    count = getattr(subject.handler, "get_num_bytes", None)
    if count is None:
        does_not_apply("the handler has no get_num_bytes()")
    examples = subject.examples(subject.load())
    with subject.calling("get_num_bytes()", "it has to count the examples that are given"):
        total, calls = _watched(count, examples)
        parts = [count([example]) for example in examples]
    for number in (total, *parts):
        if isinstance(number, bool) or int(number) != number or number < 0:
            fail(f"{subject.name}.get_num_bytes() answered {number!r:.60}: count whole bytes")
    if total != sum(parts):
        fail(
            f"{subject.name}.get_num_bytes() counts {total} bytes for all examples together and "
            f"{sum(parts)} one by one: the bytes of a batch are the sum of its examples'"
        )
    if expensive := sorted(calls & _EXPENSIVE):
        fail(
            f"{subject.name}.get_num_bytes() calls {expensive[0]}(), which costs more than many a "
            "prediction: read nbytes, len() or a shape"
        )
    low, high = _bounds(examples)
    if not low <= total <= high:
        fail(
            f"{subject.name}.get_num_bytes() counts {total:,} bytes for examples of about "
            f"{num_bytes(examples):,}: count the bytes of their data (runinference.sizes.num_bytes "
            "is the default)"
        )


def _bounds(examples: list[Any]) -> tuple[int, int]:
    counted = num_bytes(examples)
    try:
        pickled = len(pickle.dumps(examples))
    except Exception:  # noqa: BLE001  # examples need not pickle by themselves
        pickled = counted
    # The core does not look into objects of unknown classes, and pickles name such classes.
    return min(counted, pickled) // _FACTOR, max(counted, pickled) * _FACTOR


def _watched(count: Any, examples: list[Any]) -> tuple[int, set[str]]:
    """What is counted, and the names of all functions that were called for it."""
    calls: set[str] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            calls.add(frame.f_code.co_name)
        elif event == "c_call":
            calls.add(getattr(argument, "__name__", ""))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        total = count(examples)
    finally:
        sys.setprofile(before)
    return total, calls

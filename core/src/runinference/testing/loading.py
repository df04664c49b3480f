"""Checks: a model loads, as often as asked for, from the path that the handler names."""

from __future__ import annotations

import copy
import os
import tempfile
from typing import Any

from runinference.testing.subject import Loaded, Subject, does_not_apply, fail

__all__ = [
    "check_closed_model_loads_again",
    "check_load_leaves_the_handler_alone",
    "check_loads_twice",
    "check_missing_model_is_named",
    "check_two_loads_predict_the_same",
    "check_update_model_path",
]

_MISSING = "no-such-model"


def check_loads_twice(subject: Subject) -> None:
    """``load_model`` can be called again: a process that lost its model, or has two steps."""
    loaded = subject.load()
    with subject.calling("load_model(), a second time,", "it has to load as often as it is asked"):
        again = loaded.handler.load_model()
    subject.predict(Loaded(loaded.handler, again), subject.examples(loaded))


def check_two_loads_predict_the_same(subject: Subject) -> None:
    """Two loads of one model predict alike: workers each load their own."""
    one, other = subject.load(), subject.load()
    expected = subject.predict(one, subject.examples(one))
    if apart := subject.difference(subject.predict(other, subject.examples(other)), expected):
        fail(
            f"two loads of {subject.name} predict differently: {apart}. Load the weights that were "
            "saved, switch off dropout and the like, and fix random seeds in load_model()"
        )


def check_load_leaves_the_handler_alone(subject: Subject) -> None:
    """A load changes nothing that copies of the handler share."""
    handler = copy.deepcopy(subject.handler)
    before = _states(subject, handler)
    subject.load(handler)
    for name, state in _states(subject, handler).items():
        if before.get(name) != state:
            fail(
                f"{subject.name}.load_model() changes what .{name} holds, which copies of the "
                "handler share: assign a new value (self.x = [*self.x, y]) instead of changing "
                "the old one, or keep it in the model"
            )


def check_missing_model_is_named(subject: Subject) -> None:
    """A model that is not there is an error that says which."""
    path = getattr(subject.handler, "model_path", None)
    if not isinstance(path, str | os.PathLike) or "://" in str(path):
        does_not_apply("the handler names no local model_path")
    subject.load()
    error = _error_without_model(subject)
    if error is None:
        does_not_apply("check_update_model_path is about a path that has no effect")
    if _MISSING not in f"{error} {error.__cause__}":
        fail(
            f"{subject.name}.load_model() says {type(error).__name__}: {error}, and does not name "
            "the model file that is missing: read it with runinference.files.read_model(path), or "
            "raise ModelLoadError with the path"
        )


def check_update_model_path(subject: Subject) -> None:
    """``update_model_path`` really changes what is loaded."""
    if not hasattr(subject.handler, "update_model_path"):
        does_not_apply("the handler has no update_model_path()")
    other = subject.inputs.other_model
    before = subject.load()
    if other is None:
        if _error_without_model(subject) is None:
            fail(
                f"{subject.name}.load_model() loads as before after update_model_path() with the "
                "path of a file that is not there: load from self.model_path, or define "
                "update_model_path() for the attribute that load_model() reads; for a model that "
                "has no path, raise TypeError in it"
            )
        return
    expected = subject.predict(before, subject.examples(before))
    updated = copy.copy(subject.handler)
    with subject.calling("update_model_path()", "it has to take the path of another model"):
        updated.update_model_path(other)
    after = subject.load(updated)
    if not subject.difference(subject.predict(after, subject.examples(after)), expected):
        fail(
            f"{subject.name} predicts the same after update_model_path({other!r}): load_model() "
            "has to load from the new path (or the other_model= given is no other model)"
        )
    named = [getattr(loaded.handler, "model_id", None) for loaded in (before, after)]
    if named[0] is not None and named[0] == named[1]:
        fail(
            f"{subject.name}.model_id stays {named[0]!r} after update_model_path({other!r}): set "
            "it in load_model(), where the model that is loaded is known"
        )


def check_closed_model_loads_again(subject: Subject) -> None:
    """After ``close_model`` another load works, as where models take turns in memory."""
    if not hasattr(subject.handler, "close_model"):
        does_not_apply("the handler has no close_model()")
    handler, model = subject.load()
    loaded = Loaded(handler, model)
    expected = subject.predict(loaded, subject.examples(loaded))
    with subject.calling("close_model()", "it has to release a model that was asked"):
        handler.close_model(model)
    again = subject.load()
    if apart := subject.difference(subject.predict(again, subject.examples(again)), expected):
        fail(
            f"{subject.name} predicts otherwise when it is loaded after close_model(): {apart}. "
            "Close only what this model holds, nothing that all models share"
        )


def _states(subject: Subject, handler: Any) -> dict[str, bytes]:
    from apache_beam.internal import pickler

    state = handler.__getstate__()
    attributes = state if isinstance(state, dict) else {}
    with subject.calling("__getstate__()", "create in load_model() what does not pickle"):
        return {name: pickler.dumps(value) for name, value in attributes.items()}


def _error_without_model(subject: Subject) -> Exception | None:
    """What a load says whose path leads nowhere; None where it loads all the same."""
    handler = copy.copy(subject.handler)
    if not hasattr(handler, "update_model_path"):
        does_not_apply("the handler has no update_model_path()")
    suffix = os.path.splitext(str(getattr(handler, "model_path", None) or ""))[1]
    with tempfile.TemporaryDirectory() as folder:
        try:
            handler.update_model_path(os.path.join(folder, _MISSING + suffix))
        except Exception as error:  # noqa: BLE001  # whatever says that there is no path to update
            does_not_apply(f"update_model_path() refuses: {error}")
        try:
            handler.load_model()
        except Exception as error:  # noqa: BLE001  # any is an answer
            return error
    return None

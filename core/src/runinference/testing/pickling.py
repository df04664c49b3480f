"""Checks: a handler travels to the workers as a pickle, without its model."""

from __future__ import annotations

from typing import Any

from runinference.errors import CheckFailedError, ConfigurationError
from runinference.loader import fingerprint
from runinference.testing.subject import Loaded, Subject, fail

__all__ = ["check_pickles_after_load", "check_pickles_before_load"]

# More than a path, a digest and what else a load may note.
_NOTES_BYTES = 64 * 1024


def check_pickles_before_load(subject: Subject) -> None:
    """A pickled and unpickled handler predicts as the one it was made of."""
    try:
        fingerprint(subject.handler)  # names the attribute
    except ConfigurationError as error:
        raise CheckFailedError(str(error)) from error
    here = _as_constructed(subject)
    there = subject.load(_travelled(subject, subject.handler))
    expected = subject.predict(here, subject.examples(here))
    found = subject.predict(there, subject.examples(there))
    if apart := subject.difference(found, expected):
        fail(
            f"a pickled and unpickled {subject.name} predicts otherwise: {apart}. Let "
            "__getstate__() leave out nothing that load_model() or run_inference() needs"
        )


def check_pickles_after_load(subject: Subject) -> None:
    """A handler that has loaded its model pickles without it, and can load again."""
    loaded = subject.load()
    handler, model = loaded
    state = handler.__getstate__()
    attributes = state if isinstance(state, dict) else {}
    kept = [name for name, value in attributes.items() if value is model]
    # a small value may be the same object by chance
    if kept and not isinstance(model, int | float | str | bytes | None):
        fail(
            f"{subject.name}.load_model() keeps the model in .{kept[0]}, so that it travels with "
            "the handler: only return it; run_inference() is given it"
        )
    before = len(_pickled(subject, subject.handler))
    after = len(_pickled(subject, handler))
    if after > before + _NOTES_BYTES:
        fail(
            f"{subject.name} pickles to {after:,} bytes once it has loaded, {before:,} before: "
            "load_model() keeps a part of the model in an attribute. Only return the model, or "
            "leave the attribute out in __getstate__()"
        )
    again = subject.load(_travelled(subject, handler))
    subject.predict(again, subject.examples(again))


def _as_constructed(subject: Subject) -> Loaded:
    """Loaded with all its attributes; a copy is made as a pickle is, and may lack some."""
    handler = subject.handler
    if not hasattr(handler, "__dict__"):
        return subject.load()
    loading = object.__new__(type(handler))
    vars(loading).update(vars(handler))
    with subject.calling("load_model()", "it has to load the model that the checks are given"):
        return Loaded(loading, loading.load_model())


def _pickled(subject: Subject, handler: Any) -> bytes:
    from apache_beam.internal import pickler  # the pickler that will carry the handler

    with subject.calling("__getstate__()", "create in load_model() what does not pickle"):
        data: bytes = pickler.dumps(handler)
        return data


def _travelled(subject: Subject, handler: Any) -> Any:
    from apache_beam.internal import pickler

    data = _pickled(subject, handler)
    with subject.calling("__setstate__()", "it has to take what __getstate__() gives"):
        return pickler.loads(data)

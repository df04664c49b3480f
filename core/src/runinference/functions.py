"""The functions that run before and after the model, one element at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints import typehints

from runinference.failures import FAILED, Failure, FailurePolicy, Reason
from runinference.keyed import ModelsByKey

__all__ = ["Functions", "functions_by_key"]


class Functions:
    """Functions of one stage, applied to a PCollection.

    Args:
        stage: ``"preprocess"`` or ``"postprocess"``.
        policy: which errors make a failure of an element; none where None.

    Attributes:
        failed: the failures, one PCollection per function, in order.
    """

    def __init__(self, stage: str, policy: FailurePolicy | None) -> None:
        self._stage = stage
        self._policy = policy
        self.failed: list[beam.PCollection[Failure]] = []

    def apply(
        self,
        elements: beam.PCollection[Any],
        functions: Iterable[Callable[[Any], Any]],
        label: str,
        keyed: str | None,
        key_type: Any = None,
    ) -> beam.PCollection[Any]:
        """Apply them in a row.

        Args:
            elements: examples or results, in pairs with a key where ``keyed`` says so.
            functions: each from an element to one.
            label: of the steps; a number is added.
            keyed: None, ``"always"`` or ``"maybe"``.
            key_type: of the keys, where the functions see the values alone; None where they see the
                pairs.
        """
        pairs = _Pairs(keyed)
        for number, function in enumerate(functions):
            if keyed is not None and key_type is not None:
                function = _OnValue(function, pairs)
            mapped = self._step(function, pairs)
            if keyed == "always" and key_type is not None:
                mapped = mapped.with_output_types(typehints.Tuple[key_type, typehints.Any])
            if self._policy is None:
                elements = elements | f"{label}-{number}" >> mapped
            else:
                outputs = elements | f"{label}-{number}" >> mapped.with_outputs(FAILED, main="ok")
                elements = outputs["ok"]
                self.failed.append(outputs[FAILED])
        return elements

    def _step(self, function: Callable[[Any], Any], pairs: _Pairs) -> Any:  # a ParDo
        if self._policy is None:
            return beam.Map(function)
        guarded = _Guarded(function, self._stage, self._policy.exc_class, pairs)
        return beam.ParDo(guarded)


class _Pairs:
    """Tells keys from values."""

    def __init__(self, keyed: str | None) -> None:
        self._keyed = keyed

    def has_key(self, element: Any) -> bool:
        if self._keyed == "maybe":
            return isinstance(element, tuple) and len(element) == 2
        return self._keyed is not None


def functions_by_key(
    models: ModelsByKey, method: str
) -> list[Callable[[tuple[Any, Any]], tuple[Any, Any]]]:
    """The functions of the handlers of a model per key: each applies to a pair what its key's
    handler has at that place, which may be nothing.

    Args:
        models: as declared.
        method: of a handler, that tells its functions.
    """

    def ask(handler: Any) -> Sequence[Callable[[Any], Any]]:
        return tuple(getattr(handler, method, tuple)())

    of_key = {key: ask(mapping.handler) for mapping in models.mappings for key in mapping.keys}
    default = () if models.default is None else ask(models.default)
    most = max((len(functions) for functions in [*of_key.values(), default]), default=0)
    return [
        _OfKey(
            {key: own[number] for key, own in of_key.items() if number < len(own)},
            set(of_key),
            default[number] if number < len(default) else None,
        )
        for number in range(most)
    ]


class _OfKey:
    """Applies the function of the pair's key to its value."""

    def __init__(
        self,
        functions: dict[Any, Callable[[Any], Any]],
        known: set[Any],
        default: Callable[[Any], Any] | None,
    ) -> None:
        self._functions = functions
        self._known = known
        self._default = default

    def __call__(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        key, value = pair
        function = self._functions.get(key) if key in self._known else self._default
        return pair if function is None else (key, function(value))


class _OnValue:
    """Applies a function to the value of a pair."""

    def __init__(self, function: Callable[[Any], Any], pairs: _Pairs) -> None:
        self._function = function
        self._pairs = pairs

    def __call__(self, element: Any) -> Any:
        if not self._pairs.has_key(element):
            return self._function(element)
        key, value = element
        return key, self._function(value)


class _Guarded(beam.DoFn):
    """Applies a function; an element that it raises for leaves as a failure."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        stage: str,
        exc_class: type[Exception] | tuple[type[Exception], ...],
        pairs: _Pairs,
    ) -> None:
        self._function = function
        self._stage = stage
        self._exc_class = exc_class
        self._pairs = pairs

    def process(self, element: Any) -> Iterable[Any]:
        """One element in; itself or a failure out."""
        try:
            return (self._function(element),)
        except self._exc_class as error:
            is_pair = self._pairs.has_key(element) and isinstance(element, tuple)
            key, example = element if is_pair and len(element) == 2 else (None, element)
            failure = Failure(example, key, self._stage, *Reason.of(error), None)
            return (TaggedOutput(FAILED, failure),)

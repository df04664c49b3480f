"""Examples with keys: declarations that the transform reads; no handler around a handler."""

from __future__ import annotations

from runinference.description import check_handler
from runinference.handler import Handler, ProcessingFunctions

__all__ = ["KeyedModelHandler", "MaybeKeyedModelHandler"]


class _KeyDeclaration(ProcessingFunctions):
    def __init__(self, handler: Handler) -> None:
        self.handler = check_handler(handler, type(self).__name__)


class KeyedModelHandler(_KeyDeclaration):
    """From ``(key, example)`` to ``(key, PredictionResult)``.

    Preprocess and postprocess functions added here see the pair; those of the inner handler see the
    example and the result alone.

    Args:
        handler: predicts the examples; never sees the keys.

    Raises:
        ConfigurationError: not a handler.
    """


class MaybeKeyedModelHandler(_KeyDeclaration):
    """As :class:`KeyedModelHandler` for elements that are pairs; others go through without a key.

    A tuple of two is a pair, anything else an example.

    Args:
        handler: predicts the examples; never sees the keys.

    Raises:
        ConfigurationError: not a handler.
    """

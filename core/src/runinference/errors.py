"""Every error that this package raises on purpose, in one tree.

::

    RunInferenceError
    ├── ConfigurationError (also ValueError)      an option or a combination that cannot work
    ├── HandlerLookupError (also LookupError)     a handler's name does not lead to a handler
    │   ├── UnknownHandlerError                   nobody registers the name
    │   ├── BrokenHandlerError                    its plugin cannot be imported
    │   ├── DuplicateHandlerError                 two distributions register the name
    │   ├── ForbiddenHandlerError                 the environment forbids its plugin
    │   ├── IncompatibleHandlerError              its plugin asks for another version of the core
    │   └── NotAHandlerError                      the name leads to something else
    ├── WorkerEnvironmentError                    a worker is not what the pipeline was built with
    ├── ModelLoadError                            a model file that cannot be used
    ├── ExampleError (also ValueError)            an example that the model cannot take
    ├── FeatureError (also ValueError)            a column absent, of the wrong type or with nulls
    ├── CheckFailedError (also AssertionError)    a handler that breaks a rule of the contract
    └── InferenceError                            a model's answer that cannot be used
        ├── UnknownKeyError                       no model for an example's key
        ├── ModelUnavailableError                 the model cannot be asked, whatever the examples
        ├── ModelCrashedError                     the process of the model ended within a call
        ├── ModelTimeoutError                     a call took longer than it may
        ├── RequestRefusedError                   a server refuses a request, and always would
        ├── PredictionCountError                  fewer or more predictions than examples
        ├── ModelOutOfMemoryError                 not even one example fits into memory
        ├── OutputStructureError                  an output that cannot be split into predictions
        ├── NonFiniteError                        a prediction with NaN or an infinite number
        ├── ExampleFailedError                    a handler marked an example as failed
        ├── FatalExampleError                     the example that failed a run without dead letters
        └── TooManyFailuresError                  more examples failed than the threshold allows

Each message says what is wrong, where, and what to do; each error pickles, since a runner carries
it from a worker to the program that started the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BrokenHandlerError",
    "CheckFailedError",
    "ConfigurationError",
    "DuplicateHandlerError",
    "ExampleError",
    "ExampleFailedError",
    "FatalExampleError",
    "FeatureError",
    "ForbiddenHandlerError",
    "HandlerLookupError",
    "IncompatibleHandlerError",
    "InferenceError",
    "ModelCrashedError",
    "ModelLoadError",
    "ModelOutOfMemoryError",
    "ModelTimeoutError",
    "ModelUnavailableError",
    "NonFiniteError",
    "NotAHandlerError",
    "OutputStructureError",
    "PredictionCountError",
    "RequestRefusedError",
    "RunInferenceError",
    "TooManyFailuresError",
    "UnknownHandlerError",
    "UnknownKeyError",
    "WorkerEnvironmentError",
]


class RunInferenceError(Exception):
    """The base of every error that this package raises on purpose."""

    positions: Sequence[int] | None = None
    """Which examples of a call are to blame, where the error knows; the others are tried again."""


class ConfigurationError(RunInferenceError, ValueError):
    """An option, or a combination of them, that cannot work; raised when the pipeline is built."""


class HandlerLookupError(RunInferenceError, LookupError):
    """A handler's name does not lead to a handler."""


class UnknownHandlerError(HandlerLookupError):
    """Nobody registers the name: a typing mistake or a plugin that is not installed."""


class BrokenHandlerError(HandlerLookupError):
    """The plugin that registers the name cannot be imported; the cause is chained."""


class DuplicateHandlerError(HandlerLookupError):
    """Two distributions register the name; ``distribution:name`` picks one."""


class ForbiddenHandlerError(HandlerLookupError):
    """The environment does not admit the distribution that registers the name; not imported."""


class IncompatibleHandlerError(HandlerLookupError):
    """The plugin's own requirement on ``runinference`` is not met; said before importing it."""


class NotAHandlerError(HandlerLookupError):
    """The name leads to something without ``load_model`` and ``run_inference``."""


class WorkerEnvironmentError(RunInferenceError):
    """A worker lacks what the pipeline was built with, or has another version of it."""


class ModelLoadError(RunInferenceError):
    """A model that cannot be loaded: absent, damaged, of another format, or not trusted."""


class ExampleError(RunInferenceError, ValueError):
    """An example that the model cannot take, alone or beside the others of its batch."""


class FeatureError(RunInferenceError, ValueError):
    """A table without a column that the model needs, or with one that it cannot take."""


class CheckFailedError(RunInferenceError, AssertionError):
    """A handler does not pass a check of ``runinference.testing``; says what its author can do."""


class InferenceError(RunInferenceError):
    """A model's answer that cannot be used."""


class UnknownKeyError(InferenceError):
    """There is no model for the key of an example."""


class ModelUnavailableError(InferenceError):
    """A call that failed for a reason that has nothing to do with its examples: never bisected."""


class ModelCrashedError(InferenceError):
    """The process that the model runs in ended within a call."""


class ModelTimeoutError(InferenceError):
    """A call of the model took longer than it may."""


class RequestRefusedError(InferenceError):
    """A server refuses a request for what is in it, and would refuse it again."""


class PredictionCountError(InferenceError):
    """Fewer or more predictions than examples."""


class ModelOutOfMemoryError(InferenceError):
    """Memory does not suffice to predict a single example."""


class OutputStructureError(InferenceError):
    """An output, or a leaf of it, that cannot be split into one prediction per example."""


class ExampleFailedError(InferenceError):
    """A handler put :class:`runinference.ExampleFailed` at an example's position."""


class NonFiniteError(InferenceError):
    """A prediction that is NaN or infinite, or has such a number in it."""


class FatalExampleError(InferenceError):
    """The example that failed a run without dead letters; its cause is what the model raised.

    Attributes:
        position: of the example in its batch.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class TooManyFailuresError(InferenceError):
    """More examples failed than the threshold of the exception handling allows, or all of them."""

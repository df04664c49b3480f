"""Every error that this package raises on purpose, in one tree.

::

    RunInferenceError
    ├── ConfigurationError (also ValueError)      an option or a combination that cannot work
    ├── HandlerLookupError (also LookupError)     a handler's name does not lead to a handler
    │   ├── UnknownHandlerError                   nobody registers the name
    │   ├── BrokenHandlerError                    its plugin cannot be imported
    │   ├── DuplicateHandlerError                 two distributions register the name
    │   ├── IncompatibleHandlerError              its plugin asks for another version of the core
    │   └── NotAHandlerError                      the name leads to something else
    ├── ModelLoadError                            a model file that cannot be used
    ├── ExampleError (also ValueError)            an example that the model cannot take
    ├── FeatureError (also ValueError)            a column absent, of the wrong type or with nulls
    └── InferenceError                            a model's answer that cannot be used
        ├── PredictionCountError                  fewer or more predictions than examples
        ├── ModelOutOfMemoryError                 not even one example fits into memory
        ├── OutputStructureError                  an output that cannot be split into predictions
        └── ExampleFailedError                    a handler marked an example as failed

Each message says what is wrong, where, and what to do; each error pickles, since a runner carries
it from a worker to the program that started the pipeline.
"""

from __future__ import annotations

__all__ = [
    "BrokenHandlerError",
    "ConfigurationError",
    "DuplicateHandlerError",
    "ExampleError",
    "ExampleFailedError",
    "FeatureError",
    "HandlerLookupError",
    "IncompatibleHandlerError",
    "InferenceError",
    "ModelLoadError",
    "ModelOutOfMemoryError",
    "NotAHandlerError",
    "OutputStructureError",
    "PredictionCountError",
    "RunInferenceError",
    "UnknownHandlerError",
]


class RunInferenceError(Exception):
    """The base of every error that this package raises on purpose."""


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


class IncompatibleHandlerError(HandlerLookupError):
    """The plugin's own requirement on ``runinference`` is not met; said before importing it."""


class NotAHandlerError(HandlerLookupError):
    """The name leads to something without ``load_model`` and ``run_inference``."""


class ModelLoadError(RunInferenceError):
    """A model that cannot be loaded: absent, damaged, of another format, or not trusted."""


class ExampleError(RunInferenceError, ValueError):
    """An example that the model cannot take, alone or beside the others of its batch."""


class FeatureError(RunInferenceError, ValueError):
    """A table without a column that the model needs, or with one that it cannot take."""


class InferenceError(RunInferenceError):
    """A model's answer that cannot be used."""


class PredictionCountError(InferenceError):
    """Fewer or more predictions than examples."""


class ModelOutOfMemoryError(InferenceError):
    """Memory does not suffice to predict a single example."""


class OutputStructureError(InferenceError):
    """An output, or a leaf of it, that cannot be split into one prediction per example."""


class ExampleFailedError(InferenceError):
    """A handler put :class:`runinference.ExampleFailed` at an example's position."""

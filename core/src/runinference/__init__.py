"""Machine-learning inference inside Apache Beam pipelines, with handlers found by name.

Names are imported when they are first used, so that listing handlers costs no import of Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from runinference._version import __version__

if TYPE_CHECKING:
    from runinference.compositions import ABTest, Arms, Comparison, Shadow, ShadowOutputs
    from runinference.config import BatchConfig, Execution
    from runinference.failures import Failure, RunInferenceDLQ
    from runinference.handler import ModelHandler, VectorModelHandler
    from runinference.keyed import (
        KeyedModelHandler,
        KeyModelMapping,
        KeyModelPathMapping,
        MaybeKeyedModelHandler,
    )
    from runinference.registry import (
        HandlerInfo,
        available_handlers,
        create_handler,
        handler_class,
    )
    from runinference.remote import RemoteModelHandler, RequestPolicy
    from runinference.results import ExampleFailed, PredictionResult
    from runinference.row_inference import RunRowInference
    from runinference.tables import RunTableInference
    from runinference.transform import RunInference
    from runinference.updates import ModelMetadata

__all__ = [
    "ABTest",
    "Arms",
    "BatchConfig",
    "Comparison",
    "ExampleFailed",
    "Execution",
    "Failure",
    "HandlerInfo",
    "KeyModelMapping",
    "KeyModelPathMapping",
    "KeyedModelHandler",
    "MaybeKeyedModelHandler",
    "ModelHandler",
    "ModelMetadata",
    "PredictionResult",
    "RemoteModelHandler",
    "RequestPolicy",
    "RunInference",
    "RunInferenceDLQ",
    "RunRowInference",
    "RunTableInference",
    "Shadow",
    "ShadowOutputs",
    "VectorModelHandler",
    "__version__",
    "available_handlers",
    "create_handler",
    "handler_class",
]

_HOMES = {
    "ABTest": "compositions",
    "Arms": "compositions",
    "BatchConfig": "config",
    "Comparison": "compositions",
    "ExampleFailed": "results",
    "Execution": "config",
    "Failure": "failures",
    "HandlerInfo": "registry",
    "KeyModelMapping": "keyed",
    "KeyModelPathMapping": "keyed",
    "KeyedModelHandler": "keyed",
    "MaybeKeyedModelHandler": "keyed",
    "ModelHandler": "handler",
    "ModelMetadata": "updates",
    "PredictionResult": "results",
    "RemoteModelHandler": "remote",
    "RequestPolicy": "remote",
    "RunInference": "transform",
    "RunInferenceDLQ": "failures",
    "RunRowInference": "row_inference",
    "RunTableInference": "tables",
    "Shadow": "compositions",
    "ShadowOutputs": "compositions",
    "VectorModelHandler": "handler",
    "available_handlers": "registry",
    "create_handler": "registry",
    "handler_class": "registry",
}

if not TYPE_CHECKING:  # a type checker sees the imports above, and no other names

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

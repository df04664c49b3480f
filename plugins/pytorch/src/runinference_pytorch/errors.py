"""What is wrong with an example, apart from a model that cannot be loaded or an answer of its."""

from __future__ import annotations

from runinference.errors import RunInferenceError

__all__ = ["ExampleError"]


class ExampleError(RunInferenceError, ValueError):
    """An example that the model cannot take, alone or beside the others of its batch."""

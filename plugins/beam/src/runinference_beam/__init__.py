"""Beam's model handlers by name, and this project's handlers in Beam's own RunInference."""

from runinference_beam.adapter import for_beam

__all__ = ["for_beam"]

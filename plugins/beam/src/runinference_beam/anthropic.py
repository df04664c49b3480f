"""Beam's handler of the Anthropic API, by name."""

from apache_beam.ml.inference import anthropic_inference as beams

from runinference_beam.by_name import ByName

__all__ = ["AnthropicModelHandler"]


class AnthropicModelHandler(ByName, beams.AnthropicModelHandler):
    """Beam's ``AnthropicModelHandler``."""

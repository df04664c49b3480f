"""Beam's handlers of vLLM servers, by name."""

from apache_beam.ml.inference import vllm_inference as beams

from runinference_beam.by_name import ByName

__all__ = ["VLLMChatModelHandler", "VLLMCompletionsModelHandler"]


class VLLMChatModelHandler(ByName, beams.VLLMChatModelHandler):
    """Beam's ``VLLMChatModelHandler``."""


class VLLMCompletionsModelHandler(ByName, beams.VLLMCompletionsModelHandler):
    """Beam's ``VLLMCompletionsModelHandler``."""

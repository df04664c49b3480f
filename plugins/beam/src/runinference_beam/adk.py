"""Beam's handler of agents of the Agent Development Kit, by name."""

from apache_beam.ml.inference import agent_development_kit as beams

from runinference_beam.by_name import ByName

__all__ = ["ADKAgentModelHandler"]


class ADKAgentModelHandler(ByName, beams.ADKAgentModelHandler):
    """Beam's ``ADKAgentModelHandler``."""

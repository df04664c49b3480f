"""What libraries log and warn of: little unless asked for."""

import logging

import pytest

# as a program has it; in these tests a warning is an error otherwise
pytestmark = pytest.mark.filterwarnings("default")

LINEAR = {"handler": "warning", "handler.model_uri": "model.json"}


def test_warnings_of_a_model_are_shown_in_a_line_and_nothing_else(score):
    root = logging.getLogger()
    before = root.handlers, root.level
    outcome = score(**LINEAR)
    assert outcome.status == 0
    assert outcome.err.splitlines() == [
        "warning: the model is old",
        "warning: the model is very old",
    ]
    assert (root.handlers, root.level) == before


def test_a_level_shows_everything_from_it_on(score):
    outcome = score("--log-level", "info", **LINEAR)
    assert outcome.status == 0
    assert "INFO acme: told to who asks" in outcome.err
    assert "WARNING py.warnings: " in outcome.err
    assert "apache_beam" in outcome.err

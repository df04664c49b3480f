"""Handlers that the tests share are importable by name, as an author's would be."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "modules"))


@pytest.fixture
def weights(tmp_path):
    """A model's file."""
    path = tmp_path / "model.json"
    path.write_text("[1.0, 2.0, -3.0]")
    return str(path)

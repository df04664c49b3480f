"""Real models, tiny and untrained, in folders as ``save_pretrained`` writes them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for `tiny`, which tests import too

import tiny  # found through the line above


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Task to folder."""
    root = tmp_path_factory.mktemp("models")
    return {task: tiny.save(task, root / task) for task in tiny.TASKS}

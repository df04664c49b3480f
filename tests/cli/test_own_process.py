"""A model that crashes or hangs, in a process of its own: what the command says and leaves."""

import textwrap

import numpy as np
import pytest

HANDLER = """
    import os
    import time

    from runinference import VectorModelHandler
    from runinference.columns import matrix


    class Fragile(VectorModelHandler):
        def __init__(self, what: str) -> None:
            self.what = what

        def load_model(self):
            if self.what == "hang in load":
                time.sleep(1000)

        def collate_table(self, table, model):
            return matrix(table)

        def predict(self, batch, model, inference_args):
            if (batch == 13).any():
                os.abort() if self.what == "crash" else time.sleep(1000)
            return batch.sum(axis=1)
"""


@pytest.fixture
def fragile(score, write, tmp_path, monkeypatch):
    """Scores 30 rows, of which row 14 is bad."""
    info = tmp_path / "fragile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[runinference.handlers]\nfragile = fragile:Fragile\n")
    (tmp_path / "fragile.py").write_text(textwrap.dedent(HANDLER))
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path / "rows.parquet", a=np.arange(30.0), b=np.zeros(30))

    def run(what, *arguments, **execution):
        given = {f"execution.{name}": value for name, value in execution.items()}
        options = {"handler": "fragile", "handler.what": what, "input": "rows.parquet", **given}
        return score(*arguments, **options)

    return run


def test_a_crash_fails_the_run_and_names_the_row(fragile):
    outcome = fragile("crash", process="true")
    assert outcome.status == 1
    assert "rows.parquet, row 14" in outcome.err
    assert "the model's process was killed by SIGABRT" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_rows_that_crash_or_hang_are_put_aside(fragile, results):
    outcome = fragile("crash", "--failures", "failed", process="true")
    assert outcome.status == 0
    assert [row["a"] for row in results()] == [n for n in range(30) if n != 13]
    [failed] = results("failed")
    assert failed["a"] == 13
    short = ["--failures", "failed", "--overwrite", "--batching.max_size", "2"]
    outcome = fragile("hang", *short, timeout="3")
    assert outcome.status == 0
    assert "took longer than timeout=3.0 seconds" in outcome.out
    assert [row["a"] for row in results()] == [n for n in range(30) if n != 13]


def test_a_load_that_hangs(fragile):
    outcome = fragile("hang in load", timeout="0.5")
    assert outcome.status == 1
    assert outcome.err.startswith("error: fragile cannot be loaded: loading the model took longer")

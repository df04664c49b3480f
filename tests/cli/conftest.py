"""A plugin to score with, files to score, and the command line in this process."""

import collections
import json
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

HANDLERS = """
    from __future__ import annotations

    import json
    import logging
    import os
    import subprocess
    import time
    import warnings
    from typing import Literal

    import numpy as np

    from runinference import ModelHandler, VectorModelHandler
    from runinference.columns import matrix
    from runinference.files import load_error, read_model


    class Linear(VectorModelHandler):
        '''Weights in a JSON file, times the columns.

        Args:
            model_uri: the file with ``weights``.
            scale: multiplies
                every prediction.
            answer: what a prediction looks like.
        '''

        def __init__(
            self,
            model_uri: str,
            scale: float = 1.0,
            answer: Literal["number", "vector", "parts", "text"] = "number",
        ) -> None:
            self.model_path = model_uri
            self.scale = scale
            self.answer = answer

        def load_model(self):
            file = read_model(self.model_path)
            self.model_id, self.sha256 = file.model_id, file.sha256
            try:
                return np.array(json.loads(file.data))
            except ValueError as error:
                raise load_error(file, "JSON", "Save it again.") from error

        def collate(self, examples, model):
            return np.array(examples)

        def collate_table(self, table, model):
            return matrix(table)

        def examples_from(self, table, model):
            return list(matrix(table))

        def predict(self, batch, model, inference_args):
            if batch.shape[1] != len(model):
                raise ValueError(f"{batch.shape[1]} columns for {len(model)} weights")
            numbers = batch @ model * self.scale + (inference_args or {}).get("offset", 0)
            if self.answer == "vector":
                return np.stack([numbers, -numbers], axis=1)
            if self.answer == "parts":
                return {"plus": numbers, "minus": -numbers}
            return [f"n{number:g}" for number in numbers] if self.answer == "text" else numbers


    class Raising(Linear):
        def predict(self, batch, model, inference_args):
            if inference_args == {"kind": "key"}:
                return {}["weights"]
            if inference_args == {"kind": "text"}:
                return b"\\xff".decode()
            if inference_args == {"kind": "bare"}:
                raise ValueError
            if inference_args == {"kind": "lines"}:
                raise ValueError("one\\ntwo")
            raise MemoryError


    class Named(Linear):
        '''Was trained on two columns by name; takes note of each load.'''

        def load_model(self):
            with open("loads", "a") as loads:
                loads.write("once ")
            return super().load_model()

        def feature_names(self, model):
            return ["a", "b"]


    class Slow(Linear):
        def predict(self, batch, model, inference_args):
            time.sleep(30)
            return super().predict(batch, model, inference_args)


    class Paced(Linear):
        def predict(self, batch, model, inference_args):
            time.sleep((inference_args or {}).get("seconds", 0))
            if (batch[:, 1] == (inference_args or {}).get("bad")).any():
                raise ValueError("a bad row")
            return super().predict(batch, model, {})


    class Disturbed(Linear):
        '''Has a command run in its second call, as somebody else might run it then.'''

        calls = 0

        def predict(self, batch, model, inference_args):
            self.calls += 1
            if self.calls == 2:
                subprocess.run(inference_args["command"], shell=True, check=True)
            return super().predict(batch, model, {})


    class Warning(Linear):
        def load_model(self):
            logging.getLogger("acme").info("told to who asks")
            logging.getLogger("acme").warning("the model is old")
            warnings.warn("the model\\nis very old", UserWarning, stacklevel=1)
            warnings.warn("of no interest", DeprecationWarning, stacklevel=1)
            return super().load_model()


    def check(model):
        assert len(model) == 2


    class Process(ModelHandler):
        '''Answers with the process that it runs in; waits until there is work for another one.'''

        def load_model(self):
            return None

        def run_inference(self, batch, model, inference_args=None):
            time.sleep(0.5)
            return [os.getpid() for _ in batch]


    class Changing(ModelHandler):
        '''Answers with the type of its input's first value.'''

        def load_model(self):
            return None

        def run_inference(self, batch, model, inference_args=None):
            return [int(x) if batch[0] < 2 else str(x) for x in batch]
"""
METADATA = """\
Metadata-Version: 2.1
Name: acme-plugin
Version: 1.5
Requires-Dist: runinference>=0.1,<0.2
"""
ENTRIES = """
    [runinference.handlers]
    linear = acme_handlers:Linear
    raising = acme_handlers:Raising
    named = acme_handlers:Named
    slow = acme_handlers:Slow
    paced = acme_handlers:Paced
    disturbed = acme_handlers:Disturbed
    warning = acme_handlers:Warning
    changing = acme_handlers:Changing
    process = acme_handlers:Process
    broken = acme_broken:Handler
"""

Outcome = collections.namedtuple("Outcome", "status out err")


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    """The folder of an installed distribution."""
    site = tmp_path_factory.mktemp("site")
    info = site / "acme_plugin-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRIES))
    (site / "acme_handlers.py").write_text(textwrap.dedent(HANDLERS))
    (site / "acme_broken.py").write_text("import no_such_framework\n")
    return site


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder: a model, and two Parquet files of three rows and two."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.json").write_text("[1, 10]")
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.parquet", a=[1.0, 2.0, 3.0], b=[1, 2, 3], name=["x", "y", "z"])
    write(tmp_path / "in/b.parquet", a=[4.0, 5.0], b=[4, 5], name=["x", "y"])
    return tmp_path


@pytest.fixture(name="write")
def write_fixture():
    return write


def write(path, **columns):
    """A Parquet file."""
    pa.parquet.write_table(pa.table(columns), path)


@pytest.fixture
def cli(plugin, folder, monkeypatch, capsys):
    """Runs a command in this process and the current folder; gives its status and what it said."""
    from runinference_cli import progress
    from runinference_cli.main import main

    monkeypatch.syspath_prepend(str(plugin))
    monkeypatch.setattr(progress, "_LINE_S", 3600.0)  # a busy machine may take that long

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as left:
            status = left.code
        out, err = capsys.readouterr()
        if "--traceback" not in arguments:
            assert "Traceback" not in out + err
        return Outcome(status, out, err)

    return run


@pytest.fixture
def score(cli):
    """``runinference score`` with the plugin's handler, from ``in`` to ``out`` unless told."""

    def run(*arguments, **options):
        defaults = {"handler": "linear", "input": "in", "output": "out"}
        if "handler" not in options:
            defaults["handler.model_uri"] = "model.json"
        given = {
            key if "." in key else key.replace("_", "-"): value for key, value in options.items()
        }
        command = ["score"]
        for key, value in {**defaults, **given}.items():
            if value is not None:
                command += [f"--{key}", *(value if isinstance(value, list) else [value])]
        return cli(*command, *arguments)

    return run


@pytest.fixture
def results():
    """The rows of a folder of results, as dicts."""

    def read(output="out"):
        files = sorted(Path(output).glob("part-*.jsonl"))
        if files:
            return [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return pa.parquet.read_table(output).to_pylist()

    return read

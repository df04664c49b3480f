"""The report of a run: whole or not there, true, and harmless whatever the data holds."""

import functools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest

from runinference import BatchConfig, ModelHandler, RunInference, VectorModelHandler
from runinference.hooks import observing
from runinference_cli.failures import UsageError
from runinference_cli.run_report import RunReport, collected
from runinference_cli.run_report.facts import command_line, options_told
from runinference_cli.run_report.sketches import TimeBins

VOID = {"meta", "br", "img", "link", "hr"}
REFERENCES = {"src", "href", "srcset", "xlink:href", "data", "action", "poster"}


class Page(HTMLParser):
    """Checks that elements are closed and load nothing; keeps the text and the tags."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not REFERENCES & {name for name, _ in attributes}
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read(path="report.html"):
    html = Path(path).read_text()
    page = Page(html)
    assert "script" not in page.tags
    assert "url(" not in html
    assert "@import" not in html
    return page


def test_a_run_is_told_whole(score, monkeypatch):
    # pictures need more than one moment
    monkeypatch.setattr(collected, "_MEMORY_S", 0.01)
    monkeypatch.setattr(collected, "TimeBins", functools.partial(TimeBins, width=0.01))
    outcome = score("--report", "reports/report.html", "--batching.max_size", "2")
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "report reports/report.html"
    page = read("reports/report.html")
    assert re.search(r"Scored 5 rows in .* rows/s after loading\); none failed", page.text)
    for told in (
        "Where the time went loading",
        "reading",
        "collating",
        "predicting",
        "writing",
        "Rows of a call",
        "Time of a call",
        "Memory, over time",
        "p95",
        "model.json@",
        "linear (acme",
        "max_size = 2",
        "FnApiRunner",
        "runinference score --handler linear",
        "2 files with rows, 5 rows",
        "apache-beam",
    ):
        assert told.removesuffix(" (acme") in page.text, told
    assert page.tags.count("svg") >= 4
    assert [path.name for path in Path("reports").iterdir()] == ["report.html"]
    assert stat.S_IMODE(Path("reports/report.html").stat().st_mode) & 0o044


def test_what_draws_leaves_the_import_system_alone():
    program = (
        "import sys, importlib.util, runinference_cli.run_report\n"
        "assert 'pygal' in sys.modules\n"
        "assert importlib.util.find_spec('no_such_module') is None"
    )
    subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", program], check=True)


EVIL = "</style><script>alert(1)</script><img src=x onerror=alert(2)>&"


def test_what_comes_from_data_is_text(score, write):
    Path("in/a.parquet").unlink()
    Path("in/b.parquet").unlink()
    Path("in", "x<b>&.parquet").touch()
    write("in/x<b>&.parquet", a=[1.0, 2.0], b=[1, 2])
    outcome = score(
        "--report", "r.html", **{"handler": "raising", "handler.model_uri": "model.json"}
    )
    assert outcome.status == 1
    assert "x<b>&.parquet" in read("r.html").text


class Evil(ModelHandler):
    model_id = EVIL

    def load_model(self):
        return None

    def run_inference(self, batch, model, inference_args=None):
        if "bad" in batch:
            raise ValueError(EVIL)
        return [{EVIL: f"{EVIL}{n % 2}"} for n, _ in enumerate(batch)]


def test_names_labels_and_messages_are_text_too(run, tmp_path):
    place = tmp_path / "report.html"
    with observing(RunReport(place)), run.pipeline() as pipeline:
        examples = pipeline | beam.Create(["good", "good", "bad"])
        results, _ = examples | RunInference(Evil()).with_exception_handling()
        run.keep(results)
    page = read(place)
    assert page.text.count(EVIL) >= 5
    assert "Predicted 2 rows in" in page.text
    assert "; 1 row failed" in page.text
    assert "Type Rows Stage Messages, a few of them ValueError 1 inference" in page.text


class Sentences(VectorModelHandler):
    """Pads lists of numbers; a class for each."""

    def load_model(self):
        return None

    def length(self, example):
        return len(example)

    def collate(self, examples, model):
        longest = max(map(len, examples))
        return np.array([[*e, *[0] * (longest - len(e))] for e in examples])

    def predict(self, batch, model, inference_args):
        return batch.sum(axis=1) % 3


def test_a_pipelines_padding_and_classes_are_told(run, tmp_path):
    place = tmp_path / "report.html"
    examples = [[1] * (1 + number % 4) for number in range(60)]
    with observing(RunReport(place)):
        batching = BatchConfig(min_size=60, max_size=60, max_tokens=10_000)
        run.one(RunInference(Sentences(), batching=batching), examples)
    text = read(place).text
    assert "Padding of a call" in text
    assert "38% of 240 positions were padding" in text
    for label, share in ((0, "25%"), (1, "50%"), (2, "25%")):
        assert re.search(rf"\b{label} \d+ {share}", text)
    assert "What else the pipeline did, reading and writing among it, is not told apart" in text
    assert "No batch was heard of" not in text


def test_a_run_that_fails_says_so_first(run, tmp_path):
    place = tmp_path / "report.html"
    with pytest.raises(Exception, match="alert"), observing(RunReport(place)):
        run.one(RunInference(Evil()), ["bad"])
    text = read(place).text
    assert "The run failed after" in text
    assert f"ValueError: {EVIL}" in text
    assert "Scored" not in text


def test_that_nothing_was_heard_is_told(tmp_path):
    with observing(RunReport(tmp_path / "report.html")):
        pass
    text = read(tmp_path / "report.html").text
    assert "No batch was heard of. The model ran in other processes" in text


def test_a_failed_run_of_the_command(score, folder):
    outcome = score("--report", "r.html", features="name")
    assert outcome.status == 1
    text = read("r.html").text
    assert "The run failed after" in text
    assert "column 'name' is of type string" in text
    assert not Path("out").exists()


def test_failures_that_were_let_pass(score, write):
    bad = {"handler": "paced", "handler.model_uri": "model.json", "features": "a,b"}
    outcome = score("--report", "r.html", "--inference-args.bad", "3", failures="failed", **bad)
    assert outcome.status == 0, outcome.err
    text = read("r.html").text
    assert "Scored 4 rows in" in text
    assert "; 1 row failed" in text
    assert "ValueError 1 inference a bad row" in text
    assert "The rows that failed are in failed" in text


def test_an_interrupted_run(start_scoring):
    process = start_scoring("--report", "r.html")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "The run was interrupted after" in read("r.html").text
    assert "no results were put into place" in read("r.html").text


@pytest.fixture
def start_scoring(plugin, folder):
    """Starts the command with a model that takes half a minute, and waits until it reads."""

    def start(*arguments):
        command = [sys.executable, "-m", "runinference_cli", "score", "--handler", "slow"]
        command += ["--handler.model_uri", "model.json", "--input", "in", "--output", "out"]
        process = subprocess.Popen(
            [*command, *arguments],
            env={**os.environ, "PYTHONPATH": str(plugin)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        deadline = time.monotonic() + 60
        while not list(Path.cwd().glob(".out.partial-*/written")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    return start


def test_a_report_replaces_a_report_and_nothing_else(score):
    assert score("--report", "r.html").status == 0
    first = Path("r.html").read_text()
    assert score("--report", "r.html", "--overwrite").status == 0
    assert Path("r.html").read_text() != first
    Path("mine.html").write_text("<html>mine</html>")
    outcome = score("--report", "mine.html", "--overwrite")
    assert outcome.status == 2
    assert "there is another file that is no report of a run" in outcome.err
    assert Path("mine.html").read_text() == "<html>mine</html>"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("in/a.parquet", "give it a name that ends in .html"),
        ("gs://bucket/r.html", "a report goes to a local or mounted folder"),
        ("out/r.html", "it has to be outside of --output out"),
        ("failed/deep/r.html", "it has to be outside of --failures failed"),
        ("folder.html", "this is a folder"),
        ("model.json/r.html", "no file can be written in"),
    ],
)
def test_places_that_are_none(score, place, told):
    Path("folder.html").mkdir()
    before = Path("in/a.parquet").read_bytes()
    outcome = score("--report", place, "--failures", "failed")
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: --report {place}: ")
    assert told in outcome.err
    assert Path("in/a.parquet").read_bytes() == before
    assert not Path("out").exists()


def test_a_command_that_cannot_be_run_leaves_the_report_before(score):
    assert score("--report", "r.html").status == 0
    before = Path("r.html").read_text()
    assert score("--report", "r.html").status == 2  # the output folder is not empty
    assert Path("r.html").read_text() == before


def test_a_report_that_cannot_be_written_is_told_and_the_results_stay(score, results, monkeypatch):
    def full(place, text):
        raise OSError(28, "No space left on device", str(place))

    monkeypatch.setattr("runinference_cli.score_report.write_page", full)
    outcome = score("--report", "r.html")
    assert outcome.status == 1
    assert (
        "the results are in out, but the report cannot be written: the disk is full" in outcome.err
    )
    assert len(results()) == 5
    assert not Path("r.html").exists()


def test_half_a_page_is_not_left(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", broken)
    with (
        pytest.raises(OSError, match=r"report\.html"),
        observing(RunReport(tmp_path / "report.html")),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_the_observer(tmp_path):
    with pytest.raises(UsageError, match=r"RunReport .*report\.txt: a report is an HTML file"):
        RunReport(tmp_path / "report.txt")


def test_what_is_called_like_a_secret_is_hidden():
    told = command_line(
        ["x", "--handler.api_key", "abc", "--token=abc", "--url", "https://me:abc@host/", "a b"]
    )
    assert (
        told == "x --handler.api_key (hidden) --token=(hidden) --url 'https://(hidden)@host/' 'a b'"
    )
    options = {"password": "abc", "headers": {"Authorization": "abc", "x": 1}, "max_size": 3}
    assert "abc" not in options_told(options)
    assert "max_size = 3" in options_told(options)


@pytest.mark.slow  # two further interpreters import Beam
def test_models_in_other_processes_are_not_heard_of_and_do_not_chatter(plugin, folder):
    command = [sys.executable, "-m", "runinference_cli", "score", "--handler", "linear"]
    command += ["--handler.model_uri", "model.json", "--input", "in", "--output", "out"]
    command += ["--report", "r.html", "--json", "--"]
    command += ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    environment = {**os.environ, "PYTHONPATH": str(plugin)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)["rows"]) == (0, 5), done.stderr
    lines = done.stderr.splitlines()  # on a machine that is busy there is progress
    assert all(line.startswith("scoring in other processes, ") for line in lines), done.stderr
    text = read("r.html").text
    assert "Scored 5 rows in" in text
    assert "The model ran in other processes, where this report does not hear of it" in text
    assert "Rows of a call" not in text

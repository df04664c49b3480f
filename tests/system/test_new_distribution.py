"""A handler of one's own: written, built, installed, listed, checked and scored with."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from environments import ROOT, Environment  # found through conftest

from runinference_cli.new_command import write_distribution

GUIDE = ROOT / "docs/guides/writing-a-handler.md"
FENCE = re.compile(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, third_party: Path, dist: Path
) -> Environment:
    """An environment with the core and the command line; each test brings its own handler."""
    environment = Environment(tmp_path_factory.mktemp("commands"), third_party, dist)
    environment.install("runinference[cli]")
    return environment


def test_a_new_distribution_needs_no_edit(commands: Environment, tmp_path: Path) -> None:
    commands.shell("runinference new acme-handler", tmp_path)
    folder = tmp_path / "acme-handler"
    commands.shell("python -m build --no-isolation", folder)
    assert sorted(path.name for path in (folder / "dist").iterdir()) == [
        "acme_handler-0.1.0-py3-none-any.whl",
        "acme_handler-0.1.0.tar.gz",
    ]
    commands.shell("pip install dist/*.whl", folder)
    listed = commands.shell("runinference handlers", tmp_path)
    assert re.search(r"^acme +acme-handler +0\.1\.0$", listed, re.MULTILINE)
    tested = commands.shell("pytest -q -rs", folder)
    assert re.search(r"^29 passed, 1 skipped", tested, re.MULTILINE), tested
    table = pa.table({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, -1.0]})
    pa.parquet.write_table(table, tmp_path / "data.parquet")
    model = "--handler.model_uri acme-handler/tests/model.json"
    commands.shell(
        f"runinference score --handler acme {model} --input data.parquet --output scored", tmp_path
    )
    assert pa.parquet.read_table(tmp_path / "scored")["prediction"].to_pylist() == [2.0, 0.0, 10.0]


def test_a_copy_that_breaks_a_rule_fails_its_tests(commands: Environment, tmp_path: Path) -> None:
    commands.shell("runinference new hasty-handler", tmp_path)
    source = tmp_path / "hasty-handler/src/hasty_handler/__init__.py"
    text = source.read_text()
    source.write_text(text.replace("return batch @ model", "return (batch @ model)[::-1]"))
    commands.shell("pip install --no-deps .", tmp_path / "hasty-handler")
    done = subprocess.run(
        [commands.bin / "pytest", "-q", "-k", "order or singles"],
        cwd=tmp_path / "hasty-handler",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "check_predictions_are_in_order" in done.stdout
    assert "return predictions in the examples' order" in done.stdout


def apply(diff: str, path: Path) -> None:
    """Replace the lines that a diff shows before by those that it shows after."""
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] != "+")
    after = "\n".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text()
    assert text.count(before) == 1, f"{path} has not once:\n{before}"
    path.write_text(text.replace(before, after))


def test_the_guide_counts_its_lines(tmp_path: Path) -> None:
    write_distribution("runinference-lightgbm", str(tmp_path / "made"))
    page = GUIDE.read_text()
    told = " ".join(page.split())
    shown = {title: body for _, title, body in FENCE.findall(page) if title}
    handler, tests = "src/runinference_lightgbm/__init__.py", "tests/test_handler.py"
    for path, words in (
        (handler, "handler is {} lines, .*of which {} are not what"),
        (tests, "tests are {} lines, {} of them new"),
    ):
        lines = [line for line in shown[path].splitlines() if line]
        before = (tmp_path / "made" / path).read_text().splitlines()
        new = [line for line in lines if line not in before]
        assert re.search(words.format(len(lines), len(new)), told), (path, len(lines), len(new))


@pytest.mark.slow
def test_the_guide_from_nothing_to_a_wheel(commands: Environment, tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    folder = tmp_path
    said = []
    for language, title, body in FENCE.findall(GUIDE.read_text()):
        if title and language == "diff":
            apply(body, folder / title)
        elif title:
            (folder / title).write_text(body)
        elif language == "console":
            for line in body.splitlines():
                command = line.removeprefix("$ ")
                if command.startswith("cd "):
                    folder /= command.removeprefix("cd ")
                else:
                    said.append(commands.shell(command, folder))
    everything = "\n".join(said)
    assert re.search(r"^lightgbm +runinference-lightgbm +0\.1\.0$", everything, re.MULTILINE)
    assert re.search(r"^57 passed, 2 skipped", everything, re.MULTILINE), everything
    assert "--handler.raw_score  (bool, default False)" in everything
    assert re.search(r"^28 passed, 1 skipped$", everything, re.MULTILINE), everything
    assert re.search(r"^100 prediction$", everything, re.MULTILINE)
    assert re.search(r"^0\.\d\d tumours\.txt@[0-9a-f]{12}$", everything, re.MULTILINE)
    scored = pa.parquet.read_table(folder / "scored")
    assert scored.num_rows == 100
    assert set(scored.column_names) > {"mean_radius", "prediction"}
    assert (folder / "dist/runinference_lightgbm-0.1.0-py3-none-any.whl").is_file()
    assert "runinference-lightgbm" in commands.shell("runinference doctor", folder)

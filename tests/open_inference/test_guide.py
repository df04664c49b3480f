"""The guide and the plugin's README, run against MLServer."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "remote-models.md"
README = ROOT / "plugins" / "open-inference" / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "---- end of block ----"


def test_the_guide_runs_from_top_to_bottom_and_prints_what_it_says(mlserver, tmp_path):
    text = GUIDE.read_text().replace("http://localhost:8080", mlserver.http)
    blocks = BLOCK.findall(text)
    code = [block for language, block in blocks if language == "python"]
    script = tmp_path / "guide.py"
    script.write_text(f"\nprint({MARK!r}, flush=True)\n".join(code))
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.split(f"{MARK}\n"))
    for (language, _), (following, expected) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            found = sorted(next(printed).splitlines())
            assert found == (sorted(expected.splitlines()) if following == "text" else [])


def test_the_command_of_the_readme(mlserver, digits, tmp_path):
    (tmp_path / "digits").mkdir()
    columns = {f"pixel{n}": digits.inputs[:500, n] for n in range(64)}
    labels = digits.predictions[:500]
    pa.parquet.write_table(
        pa.table({"label": labels, **columns}), tmp_path / "digits" / "one.parquet"
    )
    [command] = re.findall(r"\$ (runinference score .*?)\n```", README.read_text(), re.DOTALL)
    command = command.replace("http://localhost:8080", mlserver.http).replace("\\\n", "")
    arguments = shlex.split(command)
    done = subprocess.run(
        [Path(sys.executable).with_name("runinference"), *arguments[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    scored = pa.parquet.read_table(tmp_path / "scored")
    assert scored.column_names == ["label", "prediction"]
    assert scored["prediction"].to_pylist() == scored["label"].to_pylist()
    assert "scored 500 rows" in done.stdout + done.stderr

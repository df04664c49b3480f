"""Every Python block of the documentation runs, and prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    # these need a model server and a pipeline in YAML: tests/open_inference, test_beam_yaml.py
    if "```python" in path.read_text() and path.name not in ("remote-models.md", "beam-yaml.md")
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "---- end of block ----"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_runs_from_top_to_bottom(page, tmp_path):
    blocks = BLOCK.findall(page.read_text())
    code = [text for language, text in blocks if language == "python"]
    script = tmp_path / "page.py"
    script.write_text(f"\nprint({MARK!r}, flush=True)\n".join(code))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.split(f"{MARK}\n"))
    for (language, _), (following, expected) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            # a runner gives no order to the elements of a PCollection
            found = sorted(next(printed).splitlines())
            assert found == (sorted(expected.splitlines()) if following == "text" else [])


def test_there_are_pages():
    assert {"patterns.md"} <= {path.name for path in PAGES}

"""The tables of docs/reliability.md and the tests that show what they say name each other."""

import ast
import re
from pathlib import Path

import apache_beam

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reliability.md").read_text()
HERE = sorted(Path(__file__).parent.glob("test_*.py"))
COMMAND_LINE = [ROOT / "tests/cli/test_killed.py", ROOT / "tests/cli/test_disturbed.py"]


def test_each_row_is_a_test_and_each_test_is_a_row():
    rows = [line for line in PAGE.splitlines() if re.match(r"\| (?!fault|what happens)", line)]
    named = set()
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1])
        assert names, row
        named.update(names)
    paths = {*HERE, *COMMAND_LINE} - {Path(__file__)}
    trees = [ast.parse(path.read_text()) for path in paths]
    functions = {node.name for tree in trees for node in tree.body if hasattr(node, "name")}
    assert named == {name for name in functions if name.startswith("test_")}


def test_the_page_tells_of_the_version_of_beam_that_is_tested():
    versions = set(re.findall(r"Beam (\d+\.\d+)", PAGE))
    assert versions == {".".join(apache_beam.__version__.split(".")[:2])}

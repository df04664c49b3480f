"""Every example of docs/examples prints what its page says."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
# run in tests/cli, and with its server in tests/stream
ELSEWHERE = {"digits", "stream"}
EXAMPLES = sorted(path.parent.name for path in FOLDER.glob("*/README.md"))
NUMBER = re.compile(r"\d+\.\d+")


def program_and_output(example):
    """The program that a page has the reader run, and what the page says that it prints."""
    page = (FOLDER / example / "README.md").read_text()
    [name] = re.findall(r"^\$ python (\w+\.py)$", page, re.MULTILINE)
    [output] = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return FOLDER / example / name, output


def check_output(found, expected):
    """The same lines, in any order; numbers may differ as processors and runs do."""
    lines = [sorted(text.splitlines(), key=without_numbers) for text in (found, expected)]
    assert [*map(without_numbers, lines[0])] == [*map(without_numbers, lines[1])]
    for one, other in zip(*lines, strict=True):
        numbers = [[float(number) for number in NUMBER.findall(line)] for line in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.02)


def without_numbers(line):
    return NUMBER.sub("#", line)


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name not in ELSEWHERE])
def test_an_example_prints_what_its_page_says(example, capsys):
    program, expected = program_and_output(example)
    # in this process, which has imported what they need
    runpy.run_path(str(program), run_name="__main__")
    check_output(capsys.readouterr().out, expected)


def test_an_example_runs_as_a_program(tmp_path):
    program, expected = program_and_output("keyed")
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    check_output(done.stdout, expected)


def test_other_output_is_noticed():
    check_output("a 0.31\nb", "b\na 0.32")
    for found in ("a 0.31", "a 0.31\nc", "a 0.42\nb"):
        with pytest.raises(AssertionError):
            check_output(found, "b\na 0.32")


def test_the_index_has_every_example():
    index = (FOLDER / "README.md").read_text()
    assert sorted(re.findall(r"\]\(([\w-]+)/README\.md\)", index)) == EXAMPLES

"""Every block of the documentation runs, and prints what the page says, or has a reason why not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Pages whose blocks other tests run, with what they need.
ELSEWHERE = {
    "docs/examples/digits/README.md": "tests/cli/test_digits.py",
    **{
        f"docs/examples/{name}/README.md": "tests/examples/test_examples.py"
        for name in ("keyed", "patients", "sentences", "text-lines", "two-models")
    },
    "docs/examples/stream/README.md": "tests/stream",
    "docs/guides/beam-yaml.md": "tests/system/test_beam_yaml.py",
    # what needs a cluster is told there as not tried
    "docs/guides/clusters.md": "tests/system/test_workers.py",
    "docs/guides/remote-models.md": "tests/open_inference/test_guide.py",
    "docs/guides/writing-a-handler.md": "tests/system/test_new_distribution.py",
}
# Blocks that are not run, by page and first line.
NOT_RUN = {
    ("README.md", "$ make demo    # scores scikit-learn's digits through the command line"): (
        "makes the environment that the tests run in"
    ),
    ("README.md", "$ pip install ./core ./plugins/cli ./plugins/sklearn"): (
        "tests/system/test_wheels.py installs the distributions"
    ),
    ("README.md", "$ runinference score --handler sklearn-numpy \\"): (
        "names what `make demo` made; the quickstart's command is the same and runs"
    ),
    ("docs/index.md", "$ pip install ./core ./plugins/cli ./plugins/sklearn"): (
        "tests/system/test_wheels.py installs the distributions"
    ),
    ("docs/guides/run-report.md", "$ runinference score ... --json | jq .rows"): (
        "stands for any run, and asks a program that may not be here; tests/cli reads the summary"
    ),
    ("docs/troubleshooting.md", "$ runinference doctor"): (
        "tests/cli/test_doctor.py and test_options.py run them, with a doctor that is well"
    ),
    (
        "docs/reference/command-line.md",
        "runinference score --handler NAME [--handler.OPTION VALUE ...]",
    ): ("a usage, held by the table below it"),
    ("docs/reference/observers.md", '[project.entry-points."runinference.observers"]'): (
        "a part of a distribution's file; tests/core/test_policy.py installs one"
    ),
}
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```" in path.read_text()
]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
MARK = "---- end of block ----"
# Runs each script that a line names, in a fork that has imported what most of them need.
FORKS = """
import os, pathlib, runpy, signal, sys
import apache_beam, runinference, skops.io, sklearn.linear_model, sklearn.neighbors

for line in sys.stdin:
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    signal.alarm(300)
    script = pathlib.Path(line.strip())
    os.chdir(script.parent)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    runpy.run_path(str(script), run_name="__main__")
    break
"""
SHELL = "import subprocess; subprocess.run(['bash', '-euo', 'pipefail', '-c', {!r}], check=True)"


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks_of(path):
    """Language, title and text of each block that is to run."""
    return [
        (language, title, text)
        for language, title, text in BLOCK.findall(path.read_text())
        if (name_of(path), text.splitlines()[0]) not in NOT_RUN
    ]


RUN_HERE = [path for path in PAGES if name_of(path) not in ELSEWHERE and blocks_of(path)]


def commands(text):
    """The commands of a console, without their prompts."""
    return re.sub(r"^\$ ", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def run_script():
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORKS], env=environment, **pipes) as forks:

        def run(script):
            """The status, and what was printed."""
            forks.stdin.write(f"{script}\n")
            forks.stdin.flush()
            status = int(forks.stdout.readline())
            return status, *((script.parent / name).read_text() for name in ("out", "err"))

        yield run
        forks.stdin.close()


@pytest.mark.parametrize("page", RUN_HERE, ids=name_of)
def test_a_page_runs_from_top_to_bottom(page, tmp_path, run_script):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    blocks = blocks_of(page)
    code = []
    for language, title, text in blocks:
        if title:
            (tmp_path / title).write_text(text)
        elif language == "python":
            code.append(text)
        elif language == "console":
            code.append(SHELL.format(commands(text)))
        else:
            assert language == "text", f"a block of {language} has neither a title nor a reason"
    script = tmp_path / "page.py"
    script.write_text(f"\nprint({MARK!r}, flush=True)\n".join(code))
    status, out, err = run_script(script)
    assert status == 0, err
    printed = iter(out.split(f"{MARK}\n"))
    following = [*blocks[1:], ("", "", "")]
    for (language, title, _), (next_language, _, expected) in zip(blocks, following, strict=True):
        if language in ("python", "console") and not title:
            # a runner gives no order to the elements of a PCollection
            found = sorted(next(printed).splitlines())
            if next_language == "text":
                assert found == sorted(expected.splitlines())
            elif language == "python":
                assert found == []


def test_there_are_pages():
    assert {"docs/index.md", "docs/patterns.md"} <= set(map(name_of, RUN_HERE))


def test_what_is_not_run_is_there():
    assert set(ELSEWHERE) <= set(map(name_of, PAGES))
    assert all((ROOT / test).exists() for test in ELSEWHERE.values())
    first_lines = {
        (name_of(path), text.splitlines()[0])
        for path in PAGES
        for _, _, text in BLOCK.findall(path.read_text())
    }
    assert set(NOT_RUN) <= first_lines


def test_every_block_is_read():
    for path in PAGES:
        fences = re.findall(r"^ *```+\w", path.read_text(), re.MULTILINE)
        assert len(fences) == len(BLOCK.findall(path.read_text())), name_of(path)


@pytest.mark.parametrize("readme", [ROOT / "README.md", *ROOT.glob("*/*/README.md")], ids=name_of)
def test_links_of_a_readme_lead_somewhere(readme):
    # those of the site are checked when it is built
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme.read_text())
    assert [link for link in links if not (readme.parent / link).exists()] == []

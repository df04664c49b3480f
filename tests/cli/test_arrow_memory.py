"""Arrow's memory comes from where the environment says, or from what needs less of it."""

import subprocess
import sys

import pytest

PROGRAM = """
{first}
from runinference_cli.arrow_memory import choose_pool
choose_pool()
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""


def pool(first, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first=first)],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Arrow's own choice stays")
@pytest.mark.parametrize("first", ["", "import pyarrow"])
def test_of_itself_it_is_jemalloc(first):
    assert pool(first) == "jemalloc"


@pytest.mark.parametrize("first", ["", "import pyarrow"])
@pytest.mark.parametrize("name", ["system", "mimalloc"])
def test_what_the_environment_says_stays(first, name):
    assert pool(first, ARROW_DEFAULT_MEMORY_POOL=name) == name

"""Wheels built once for all tests, and the packages that they need by links."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for `environments`, which tests import too

from environments import ROOT, Environment, run  # found through the line above


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for distributions; `build` puts them there."""
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="session")
def build(dist: Path) -> Callable[[str], None]:
    """``build("core")`` makes an sdist and the wheel from that sdist, once."""
    built = set()

    def make(source: str) -> None:
        if source not in built:
            built.add(source)
            command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", dist)
            run(*command, ROOT / source)

    return make


@pytest.fixture(scope="session")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This environment's packages without ours, by links: nothing has to be downloaded again."""
    folder = tmp_path_factory.mktemp("third-party")
    for library in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(library).iterdir():
            if "runinference" not in entry.name and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def environment(tmp_path: Path, third_party: Path, dist: Path) -> Environment:
    """An environment of the test's own."""
    return Environment(tmp_path / "environment", third_party, dist)

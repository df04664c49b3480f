"""Wheels built once for all tests, and the packages that they need by links."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for `environments`, which tests import too

from environments import ROOT, Environment, run  # found through the line above

# As `python -m build` does it, for all distributions in one interpreter.
BUILD = """
import os, pathlib, sys, tarfile, tempfile
from hatchling import build

dist = sys.argv[1]
for source in sys.argv[2:]:
    os.chdir(source)
    sdist = pathlib.Path(dist, build.build_sdist(dist))
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(sdist) as archive:
            archive.extractall(unpacked, filter="data")
        os.chdir(pathlib.Path(unpacked, sdist.name.removesuffix(".tar.gz")))
        build.build_wheel(dist)
        os.chdir(source)
"""


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdists and wheels of all distributions."""
    folder = tmp_path_factory.mktemp("dist")
    projects = (ROOT / "core/pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml")))
    run(sys.executable, "-c", BUILD, folder, *(path.parent for path in projects))
    return folder


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

"""The wheels and sdists: what they hold, and what they do in an environment that has only them."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "runinference": "core",
    "runinference_cli": "plugins/cli",
    "runinference_pytorch": "plugins/pytorch",
    "runinference_sklearn": "plugins/sklearn",
}


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    if check:
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All distributions, each an sdist and the wheel built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for source in PACKAGES.values():
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT / source)
    return folder


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This environment's packages without ours, by links: nothing has to be downloaded again."""
    folder = tmp_path_factory.mktemp("third-party")
    for library in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(library).iterdir():
            if "runinference" not in entry.name and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


class Environment:
    """A virtual environment with third-party packages and, of ours, only the wheels installed."""

    def __init__(self, folder: Path, third_party: Path, dist: Path) -> None:
        self.bin = folder / "bin"
        self.dist = dist
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "third_party.pth").write_text(f"{third_party}\n")

    def install(self, requirement: str) -> None:
        """By the resolver, with our wheels as its only source of packages."""
        pip = (sys.executable, "-m", "pip", "--isolated", "--python", self.bin / "python")
        run(*pip, "install", "--no-index", "--find-links", self.dist, requirement)

    def python(self, program: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(self.bin / "python", "-I", "-c", program, check=check)


@pytest.fixture
def environment(tmp_path: Path, third_party: Path, dist: Path) -> Environment:
    return Environment(tmp_path / "environment", third_party, dist)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_wheel_holds_the_package_its_types_and_the_licence_and_no_tests(
    package: str, dist: Path
) -> None:
    (wheel,) = dist.glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    source = ROOT / PACKAGES[package] / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    info = f"{package}-{wheel.name.split('-')[1]}.dist-info/"
    packaged = {name for name in names if not name.startswith(info)}
    assert packaged == modules | {f"{package}/py.typed"}
    assert f"{info}licenses/LICENSE" in names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_an_sdist_holds_the_sources_readme_and_licence_alone(package: str, dist: Path) -> None:
    (sdist,) = dist.glob(f"{package}-*.tar.gz")
    top = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{top}/") for name in archive.getnames()}
    outside = {name for name in names if not name.startswith(f"src/{package}/")}
    # hatchling puts the ignore file that it obeyed into every sdist
    assert outside == {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}


def test_the_core_alone_has_no_handlers_and_says_what_to_install(environment: Environment) -> None:
    environment.install("runinference")
    listed = environment.python(
        "import runinference; print(len(list(runinference.available_handlers())))"
    )
    assert listed.stdout == "0\n"
    failed = environment.python(
        "import runinference; runinference.create_handler('sklearn-numpy', model_uri='m.skops')",
        check=False,
    )
    assert failed.returncode == 1
    last_line = failed.stderr.strip().splitlines()[-1]
    assert last_line.startswith("runinference.errors.UnknownHandlerError: ")
    assert "pip install runinference-sklearn" in last_line


SCORE = """
import apache_beam as beam
import joblib
import numpy as np
import runinference
from apache_beam.testing.util import assert_that, equal_to
from sklearn.linear_model import LinearRegression

inputs = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]])
model = LinearRegression().fit(inputs, inputs @ [2.0, 1.0])
joblib.dump(model, {path!r})

with beam.Pipeline("FnApiRunner") as pipeline:
    results = (
        pipeline
        | beam.Create(list(inputs))
        | runinference.RunInference("sklearn-numpy", model_uri={path!r})
    )
    rounded = results | beam.Map(lambda result: round(float(result.inference), 6))
    assert_that(rounded, equal_to([4.0, 11.0, 9.0]))
print("scored")
"""


def test_with_the_plugin_of_an_extra_it_scores(environment: Environment, tmp_path: Path) -> None:
    environment.install("runinference[sklearn]")
    listed = environment.python(
        "import runinference\n"
        "for info in runinference.available_handlers(): print(info.name, info.distribution)"
    )
    assert listed.stdout.splitlines() == [
        "sklearn-numpy runinference-sklearn",
        "sklearn-pandas runinference-sklearn",
    ]
    scored = environment.python(SCORE.format(path=str(tmp_path / "model.joblib")))
    assert scored.stdout.endswith("scored\n")


def test_all_extras_together_bring_the_command_and_every_handler(environment: Environment) -> None:
    environment.install("runinference[cli,pytorch,sklearn]")
    listed = run(environment.bin / "runinference", "handlers")
    for name in ("sklearn-numpy", "sklearn-pandas", "torch-keyed", "torch-tensor"):
        assert name in listed.stdout

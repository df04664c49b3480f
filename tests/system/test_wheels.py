"""The wheels and sdists: what they hold, and what they do in an environment that has only them."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from environments import ROOT, Environment, run  # found through conftest

PACKAGES = {
    "runinference": "core",
    "runinference_beam": "plugins/beam",
    "runinference_cli": "plugins/cli",
    "runinference_onnx": "plugins/onnx",
    "runinference_open_inference": "plugins/open-inference",
    "runinference_pytorch": "plugins/pytorch",
    "runinference_sklearn": "plugins/sklearn",
    "runinference_transformers": "plugins/transformers",
    "runinference_xgboost": "plugins/xgboost",
}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_wheel_holds_the_package_its_types_and_the_licence_and_no_tests(
    package: str, dist: Path
) -> None:
    (wheel,) = dist.glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    source = ROOT / PACKAGES[package] / "src"
    files = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"{package}-{wheel.name.split('-')[1]}.dist-info/"
    packaged = {name for name in names if not name.startswith(info)}
    assert packaged == files
    assert f"{package}/py.typed" in files
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
    environment.install("runinference[cli,onnx,pytorch,sklearn,transformers]")
    # as its README tells where xgboost-cpu is installed
    environment.install("--no-deps", "runinference-xgboost")
    listed = run(environment.bin / "runinference", "handlers")
    for name in (
        "onnx-numpy",
        "sklearn-numpy",
        "sklearn-pandas",
        "torch-keyed",
        "torch-tensor",
        "transformers-pipeline",
        "xgboost-numpy",
        "xgboost-pandas",
    ):
        assert name in listed.stdout

"""What the four distributions declare, held against what they contain and against each other."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "runinference": ROOT / "core",
    "runinference-beam": ROOT / "plugins/beam",
    "runinference-cli": ROOT / "plugins/cli",
    "runinference-onnx": ROOT / "plugins/onnx",
    "runinference-open-inference": ROOT / "plugins/open-inference",
    "runinference-pytorch": ROOT / "plugins/pytorch",
    "runinference-sklearn": ROOT / "plugins/sklearn",
    "runinference-transformers": ROOT / "plugins/transformers",
    "runinference-xgboost": ROOT / "plugins/xgboost",
}
PLUGINS = sorted(FOLDERS.keys() - {"runinference"})
HANDLERS = {
    "runinference-onnx": {"onnx-numpy": "runinference_onnx:OnnxModelHandlerNumpy"},
    "runinference-open-inference": {
        "open-inference-grpc": "runinference_open_inference:OpenInferenceGrpcModelHandler",
        "open-inference-http": "runinference_open_inference:OpenInferenceHttpModelHandler",
    },
    "runinference-pytorch": {
        "torch-keyed": "runinference_pytorch:PytorchModelHandlerKeyedTensor",
        "torch-tensor": "runinference_pytorch:PytorchModelHandlerTensor",
    },
    "runinference-sklearn": {
        "sklearn-numpy": "runinference_sklearn:SklearnModelHandlerNumpy",
        "sklearn-pandas": "runinference_sklearn:SklearnModelHandlerPandas",
    },
    "runinference-transformers": {
        "transformers-pipeline": "runinference_transformers:TransformersPipelineHandler",
    },
    "runinference-xgboost": {
        "xgboost-numpy": "runinference_xgboost:XgboostModelHandlerNumpy",
        "xgboost-pandas": "runinference_xgboost:XgboostModelHandlerPandas",
    },
}
# Imported only where they are installed anyway.
OPTIONAL = {
    # what the frames are made with that a handler is given, whose plugin depends on it; and what
    # the decorator of runinference.testing is for
    "runinference": {"pandas", "pytest"},
    # what the modules of Beam that a name leads to import themselves
    "runinference-beam": {"pandas", "scipy", "torch"},
    # what reads a joblib file that was compressed with lz4; joblib itself needs it to write one
    "runinference-sklearn": {"lz4"},
}

each_distribution = pytest.mark.parametrize("name", sorted(FOLDERS))
each_plugin = pytest.mark.parametrize("name", PLUGINS)


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def project(name: str) -> dict[str, Any]:
    return read_toml(FOLDERS[name] / "pyproject.toml")["project"]


def package(name: str) -> Path:
    return FOLDERS[name] / "src" / name.replace("-", "_")


def source_version() -> Version:
    text = (package("runinference") / "_version.py").read_text()
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert match is not None
    return Version(match[1])


def requirements(name: str) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in project(name)["dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Top-level names of what is imported when the code runs, not when its types are checked."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    ):
        for node in tree.orelse:
            yield from imported_modules(node)
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom) and tree.module is not None:
        yield tree.module.partition(".")[0]
    for node in ast.iter_child_nodes(tree):
        yield from imported_modules(node)


# One version


@each_distribution
def test_every_distribution_takes_its_version_from_the_same_file(name: str) -> None:
    assert "version" in project(name)["dynamic"]
    path = read_toml(FOLDERS[name] / "pyproject.toml")["tool"]["hatch"]["version"]["path"]
    assert (FOLDERS[name] / path).resolve() == package("runinference") / "_version.py"


@each_distribution
def test_what_is_installed_has_that_version(name: str) -> None:
    assert Version(importlib.metadata.version(name)) == source_version()


def test_no_other_source_file_states_a_version() -> None:
    stating = [
        str(path.relative_to(ROOT))
        for name in FOLDERS
        for path in sorted(package(name).rglob("*.py"))
        if re.search(r"^__version__\s*=\s*[\"']", path.read_text(), re.MULTILINE)
    ]
    assert stating == ["core/src/runinference/_version.py"]


def test_the_changelog_tells_of_that_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", str(source_version())]


# Gates, extras, entry points


def expected_gate() -> str:
    version = source_version()
    return f"<{version.major}.{version.minor + 1},>={version.major}.{version.minor}"


@each_plugin
def test_every_plugin_takes_the_cores_of_its_own_minor_version_only(name: str) -> None:
    gate = requirements(name)["runinference"].specifier
    assert str(gate) == expected_gate()
    assert gate.contains(source_version())


def test_the_extras_of_the_core_name_its_siblings_with_the_same_gate() -> None:
    extras = project("runinference")["optional-dependencies"]
    assert sorted(extras) == [name.removeprefix("runinference-") for name in PLUGINS]
    for extra, lines in extras.items():
        (requirement,) = map(Requirement, lines)
        assert requirement.name == f"runinference-{extra}"
        assert str(requirement.specifier) == expected_gate()


# Some of the plugin for Beam need what is not installed; tests/beam has tests of all of them.
@pytest.mark.parametrize("name", sorted(FOLDERS.keys() - {"runinference-beam"}))
def test_the_entry_points_installed_are_the_ones_meant_and_load(name: str) -> None:
    expected = HANDLERS.get(name, {})
    assert project(name).get("entry-points", {}).get("runinference.handlers", {}) == expected
    installed = importlib.metadata.distribution(name).entry_points
    handlers = [point for point in installed if point.group == "runinference.handlers"]
    assert {point.name: point.value for point in handlers} == expected
    for point in handlers:
        assert point.load().__name__ == point.attr


def test_the_command_is_installed_and_callable() -> None:
    (script,) = importlib.metadata.distribution("runinference-cli").entry_points
    assert (script.group, script.name) == ("console_scripts", "runinference")
    assert callable(script.load())


# Honest dependencies


@each_distribution
def test_dependencies_are_what_the_sources_import(name: str) -> None:
    providers = dict(importlib.metadata.packages_distributions())
    # an editable installation does not tell which packages it holds
    providers |= {package(ours).name: [ours] for ours in FOLDERS}
    # xgboost-cpu stands for it here
    providers["xgboost"] = ["xgboost"]
    imported = set()
    for path in sorted(package(name).rglob("*.py")):
        for module in imported_modules(ast.parse(path.read_text())):
            if module in sys.stdlib_module_names or module == package(name).name:
                continue
            if module in OPTIONAL.get(name, set()):
                continue
            assert module in providers, f"{path.relative_to(ROOT)} imports {module}"
            imported.add(canonicalize_name(providers[module][0]))
    assert imported == requirements(name).keys()


@each_distribution
def test_every_dependency_has_a_lower_bound(name: str) -> None:
    for requirement in requirements(name).values():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert ">=" in operators, f"{name}: {requirement}"


def test_constraints_pin_every_direct_requirement_to_a_version_that_it_allows() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pins = {canonicalize_name(n): v for n, v in (line.split("==") for line in lines)}
    groups = read_toml(ROOT / "pyproject.toml")["dependency-groups"]
    wanted = [Requirement(line) for lines in groups.values() for line in lines]
    wanted += [requirement for name in FOLDERS for requirement in requirements(name).values()]
    for requirement in wanted:
        if requirement.name not in FOLDERS:
            pin = pins[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(pin), f"{requirement} is pinned to {pin}"


# Files and configuration


@each_distribution
def test_every_distribution_brings_the_licence_a_readme_and_its_types(name: str) -> None:
    assert (FOLDERS[name] / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert project(name)["license"] == "Apache-2.0"
    assert (FOLDERS[name] / "README.md").read_text().startswith(f"# {name}\n")
    assert (package(name) / "py.typed").is_file()


@each_distribution
def test_tools_are_configured_at_the_root_alone(name: str) -> None:
    assert read_toml(FOLDERS[name] / "pyproject.toml")["tool"].keys() == {"hatch"}
    strays = {"mypy.ini", "pytest.ini", "ruff.toml", "setup.cfg", "tox.ini", ".ruff.toml"}
    assert not strays & {path.name for path in FOLDERS[name].iterdir()}


def test_python_versions_agree_everywhere() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (versions,) = re.findall(r"^PYTHONS := (.+)$", makefile, re.MULTILINE)
    for name in FOLDERS:
        prefix = "Programming Language :: Python :: "
        told = [c.removeprefix(prefix) for c in project(name)["classifiers"] if prefix in c]
        assert told == versions.split()
        assert project(name)["requires-python"] == ">=3.11,<3.14"
    assert f"find-python {versions} " in (ROOT / ".ci/run").read_text()


def test_every_make_command_that_is_told_exists() -> None:
    told = set()
    for path in (ROOT / "README.md", ROOT / ".ci/run", *sorted((ROOT / "docs").rglob("*.md"))):
        told |= set(re.findall(r"(?:^|[`$] ?)make ([a-z-]+)", path.read_text(), re.MULTILINE))
    assert {"check", "demo", "test"} <= told
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert told <= set(targets)

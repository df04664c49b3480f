"""The core's own order: imports point one way, public names are told, files stay small."""

import ast
import importlib
import pickle
from pathlib import Path

import pytest

import runinference
from runinference import errors, registry

SOURCES = Path(runinference.__file__).parent
# Lowest first: a module imports only from layers below its own.
LAYERS = [
    {"_version", "errors", "hints", "in_flight", "memory", "sizes", "sizing", "results"}
    | {"entry_points", "events", "model_files", "policy", "scratch", "frame_blocks"},
    {"config", "rendering", "columns", "files", "registry", "hooks", "coders", "stacking"}
    | {"gathering"},
    {"batch", "copies"},
    {"outputs", "metrics", "__main__", "reporting", "failures", "limits", "nonfinite"}
    | {"environment"},
    {"handler", "dead_letters", "pieces"},
    {"description", "frames"},
    {"keyed", "versions"},
    {"beams", "functions"},
    {"model", "batching", "remote", "threads"},
    {"process"},
    {"loader"},
    {"outcome", "projection", "keyed_models", "updates"},
    {"solve", "router", "keyed_router", "watching"},
    {"deduplication", "work"},
    {"worker"},
    {"rows", "schema_rows", "table_edge", "step"},
    {"column_step"},
    {"transform", "tables"},
    {"row_inference", "compositions"},
    {"portable"},
    {"__init__"},
    {"testing"},
]
PACKAGES = sorted(path.parent.name for path in SOURCES.glob("*/__init__.py"))
MODULES = sorted([*(path.stem for path in SOURCES.glob("*.py")), *PACKAGES])


def files(name):
    """The files of a module, or of a package of the core."""
    return sorted((SOURCES / name).glob("*.py")) if name in PACKAGES else [SOURCES / f"{name}.py"]


def imported(name):
    """Modules of the core that a module imports when it is imported itself."""
    nodes = [node for path in files(name) for node in ast.parse(path.read_text()).body]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("runinference"):
            _, _, module = node.module.partition(".")
            module = module.partition(".")[0]
            if module != name:
                yield from [module] if module else [alias.name for alias in node.names]


def test_every_module_has_its_layer():
    assert sorted(name for layer in LAYERS for name in layer) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    [level] = [level for level, layer in enumerate(LAYERS) if name in layer]
    below = {module for layer in LAYERS[:level] for module in layer}
    assert set(imported(name)) <= below


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("_")])
def test_public_names_are_told(name):
    module = importlib.import_module(f"runinference.{name}")
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None


def test_the_packages_names():
    assert sorted(runinference.__all__) == runinference.__all__
    for name in runinference.__all__:
        assert getattr(runinference, name) is not None
    assert set(runinference.__all__) <= set(dir(runinference))
    with pytest.raises(AttributeError, match="no attribute 'RunInferense'"):
        runinference.RunInferense  # noqa: B018 - the access is the test


@pytest.mark.parametrize("name", MODULES)
def test_files_stay_small(name):
    for path in files(name):
        assert len(path.read_text().splitlines()) <= 300, path


def test_no_framework_is_imported():
    for path in SOURCES.glob("**/*.py"):
        # whoever has frames has pandas, which that module imports when it is given some
        frames = {"pandas"} if path.name == "frames.py" else set()
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                banned = {"torch", "sklearn", "pandas", "skops", "joblib"} - frames
                assert name.split(".")[0] not in banned
                assert not name.startswith("apache_beam.ml")


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_pickle_and_share_a_base(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.RunInferenceError)
    assert str(pickle.loads(pickle.dumps(kind("what, where, what to do")))) == (
        "what, where, what to do"
    )


def test_options_that_the_transforms_take_themselves_are_reserved():
    import inspect

    taken = set()
    for kind in (
        runinference.RunInference,
        runinference.RunTableInference,
        runinference.RunRowInference,
    ):
        taken |= set(inspect.signature(kind.__init__).parameters)
    from runinference.step import RESERVED

    assert taken - {"self", "handler", "options"} == RESERVED
    assert registry.GROUP == "runinference.handlers"

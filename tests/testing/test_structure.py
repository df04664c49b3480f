"""The kit's own order: small modules, public names, and a core that does without it."""

import ast
import importlib
from pathlib import Path

import pytest

import runinference.testing

KIT = Path(runinference.testing.__file__).parent
MODULES = sorted(path.stem for path in KIT.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_small_and_tell_their_names(name):
    assert len((KIT / f"{name}.py").read_text().splitlines()) <= 300
    module = importlib.import_module(f"runinference.testing.{name}")
    for public in module.__all__:
        assert getattr(module, public) is not None
    checks = {public for public in vars(module) if public.startswith("check_")}
    own = {check for check in checks if getattr(module, check).__module__ == module.__name__}
    assert own <= set(module.__all__)
    assert own <= set(runinference.testing.HandlerChecks.names)


def test_every_check_says_in_a_line_what_holds():
    from runinference.testing.checks import _CHECKS

    for name, function in _CHECKS.items():
        assert function.__name__ == name
        first = function.__doc__.splitlines()[0]
        assert first.endswith(".")


def test_the_core_does_without_the_kit():
    for path in KIT.parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("runinference.testing")

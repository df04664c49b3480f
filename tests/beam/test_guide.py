"""The guide for those who come from Beam leaves no public name of Beam's out."""

import ast
import re
from pathlib import Path

import apache_beam

GUIDE = (Path(__file__).parents[2] / "docs/guides/coming-from-beam.md").read_text()
SOURCE = Path(apache_beam.__file__).parent / "ml/inference/base.py"
TABLES = "\n".join(line for line in GUIDE.splitlines() if line.startswith("|"))


def public_names():
    """Classes with their methods and options, functions and type variables."""
    for node in ast.parse(SOURCE.read_text()).body:
        if isinstance(node, ast.Assign) and "TypeVar(" in ast.unparse(node.value):
            yield ast.unparse(node.targets[0])
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        yield node.name
        for method in node.body:
            if not isinstance(method, ast.FunctionDef):
                continue
            if method.name != "__init__":
                yield method.name
            elif node.name in ("RunInference", "ModelHandler", "RemoteModelHandler"):
                arguments = [*method.args.args[1:], *method.args.kwonlyargs]
                yield from (f"{argument.arg}=" for argument in arguments)


def test_every_public_name_of_beams_is_in_a_table():
    told = set(re.findall(r"\w+=?", " ".join(re.findall(r"`([^`]+)`", TABLES))))
    named = {name for name in public_names() if not name.startswith("_")}
    assert {"RunInference", "KeyModelMapping", "request", "rate_limiter="} <= named
    assert sorted(named - told) == ["model_handler="]  # which stands there by its place


def test_what_the_tables_say_is_here():
    import runinference

    same = re.findall(r"^\| (.+?) \| the same\b", TABLES, re.MULTILINE)
    classes = set(re.findall(r"`([A-Z]\w+)", " ".join(same)))
    assert {"KeyedModelHandler", "KeyModelPathMapping", "PredictionResult"} <= classes
    assert classes <= set(runinference.__all__)
    for name, arguments in set(
        re.findall(r"(BatchConfig|Execution|RequestPolicy)\((.*?)\)", TABLES)
    ):
        options = re.findall(r"(\w+)=", arguments)
        assert set(options) <= set(getattr(runinference, name).__dataclass_fields__), name

"""``runinference new``: what is written, and the names that it refuses."""

import ast
import tomllib

import pytest

USAGE = 2


def test_what_is_written(cli, folder):
    status, out, err = cli("new", "acme-numpy-handler")
    assert (status, err) == (0, "")
    assert out.startswith("wrote acme-numpy-handler, with the handler 'acme-numpy':\n")
    assert "pip install -e . --group test && pytest" in out
    root = folder / "acme-numpy-handler"
    written = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert written == [
        ".github/workflows/ci.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/acme_numpy_handler/__init__.py",
        "src/acme_numpy_handler/py.typed",
        "tests/model.json",
        "tests/test_handler.py",
    ]
    for path in written:
        assert f"  {path}\n" in out
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["name"] == "acme-numpy-handler"
    assert "runinference>=0.1,<0.2" in project["dependencies"]
    entries = project["entry-points"]["runinference.handlers"]
    assert entries == {"acme-numpy": "acme_numpy_handler:AcmeNumpyHandler"}
    source = (root / "src/acme_numpy_handler/__init__.py").read_text()
    [kind] = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert kind.name == "AcmeNumpyHandler"
    statements = sum(isinstance(node, ast.stmt) for node in ast.walk(kind)) - 1
    assert statements <= 15
    assert "${{ matrix.python }}" in (root / ".github/workflows/ci.yml").read_text()
    assert "$" not in source


def test_another_folder(cli, folder):
    assert cli("new", "acme-handler", "--folder", "code/mine").status == 0
    assert (folder / "code/mine/pyproject.toml").is_file()
    status, _, err = cli("new", "acme-handler", "--folder", "code/mine")
    assert status == USAGE
    assert "'code/mine' is there already" in err


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("runinference-acme", "acme"),
        ("Acme.Models_handlers", "acme-models"),
        ("handler", "handler"),
        ("runinference-handler", "runinference-handler"),
    ],
)
def test_the_handlers_name(cli, name, handler):
    assert f"with the handler {handler!r}" in cli("new", name).out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme handler", "'acme handler' is no name for a distribution"),
        ("-acme", "is no name"),
        ("acme-", "'acme-' is no name for a distribution"),
        ("3d-models", "no name for a Python package ('3d_models')"),
        ("class", "no name for a Python package"),
        ("numpy", "is taken: numpy 2"),
        ("json", "makes the package 'json', and there is one already"),
        ("linear-handler", "handler 'linear' is one of acme-plugin 1.5"),
        ("acme-plugin", "is taken: acme-plugin 1.5 is installed here"),
    ],
)
def test_names_that_do_not_do(cli, folder, name, message):
    before = set(folder.iterdir())
    status, out, err = cli("new", "--", name) if name.startswith("-") else cli("new", name)
    assert (status, out) == (USAGE, "")
    assert message in err
    assert set(folder.iterdir()) == before


def test_a_folder_that_is_there(cli, folder):
    (folder / "acme-handler").mkdir()
    status, _, err = cli("new", "acme-handler")
    assert status == USAGE
    assert "'acme-handler' is there already: remove it, or name another --folder" in err

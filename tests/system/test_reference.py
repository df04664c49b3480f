"""The reference has every public name, option, metric and message, as the code has them now."""

import ast
import importlib
import inspect
import re

import pytest

import runinference
from reference.filling import filled, pages, selectors
from reference.listing import covered
from reference.messages import constant_words, messages
from reference.sources import ROOT
from reference.texts import HOLE
from runinference import BatchConfig, Execution, RunInference, metrics, policy
from runinference.errors import RunInferenceError
from runinference.files import load_error, read_model
from runinference_cli.main import main

DOCS = ROOT / "docs"
PUBLIC = ["runinference", "runinference.testing", "runinference.files", "runinference.columns"]
PUBLIC += ["runinference.stacking", "runinference.hooks", "runinference_beam"]
# A number, the worker's own side of the observers, and a mark that the page shows in use.
NO_ENTRY = {f"runinference.{name}" for name in ("__version__", "hooks.Observers", "hooks.observer")}


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_page_has_what_the_code_tells(path):
    text = path.read_text()
    assert filled(text) == text, "stale: run `make docs-reference`"


def test_there_are_pages_of_options_and_of_messages():
    assert {"configuration.md", "handlers.md", "troubleshooting.md"} <= {p.name for p in pages()}


def test_every_public_name_is_in_the_reference():
    told = set()
    for path in (DOCS / "reference").glob("*.md"):
        told |= set(re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE))
    names = {
        f"{module}.{name}" for module in PUBLIC for name in importlib.import_module(module).__all__
    }
    assert names - told == NO_ENTRY


def test_every_public_name_of_a_plugin_is_in_the_reference():
    page = (DOCS / "reference/handlers.md").read_text()
    plugins = {path.parent.name for path in ROOT.glob("plugins/*/src/*/__init__.py")}
    for module in sorted(plugins - {"runinference_beam", "runinference_cli"}):
        for name in importlib.import_module(module).__all__:
            told = f"from {module} import {name}", f"`{module}.{name}`"
            assert any(text in page for text in told), (module, name)


def test_every_metric_is_in_the_reference():
    page = (DOCS / "reference/metrics.md").read_text()
    kinds = {"counter": set(), "distribution": set()}
    for node in ast.walk(ast.parse(inspect.getsource(metrics))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in kinds:
            kinds[node.func.id].add(node.args[0].value)
    assert all(kinds.values())
    counters, _, distributions = page.partition("## Distributions")
    assert set(re.findall(r"^\| `(\w+)`", counters, re.MULTILINE)) == kinds["counter"]
    assert set(re.findall(r"^\| `(\w+)`", distributions, re.MULTILINE)) == kinds["distribution"]


def test_every_environment_variable_is_in_the_reference():
    page = (DOCS / "reference/configuration.md").read_text()
    assert set(policy.VARIABLES) == set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) - set(
        dir(BatchConfig)
    ) - set(dir(Execution)) - set(dir(runinference.RequestPolicy))


def test_every_message_has_a_place_in_the_troubleshooting_page():
    placed = {message.text for message in covered(selectors())}
    lost = [message for message in messages() if message.text not in placed]
    assert not lost, "name their modules in a mark of docs/troubleshooting.md"


def no_such_handler():
    RunInference("sklearn-nunpy")


def another_option():
    RunInference("sklearn-numpy", model_uri="model.skops", max_batch_size=3)


def a_size_of_none():
    BatchConfig(max_size=0)


def no_such_file():
    read_model("no-such-model")


def another_file():
    raise load_error(read_model(__file__), "a model", "Save it.")


def weight_without_function():
    BatchConfig(max_weight=3)


def a_variable_that_forbids():
    Execution(env_vars={policy.VARIABLES[0]: "1"})


@pytest.mark.parametrize(
    "mistake",
    [
        no_such_handler,
        another_option,
        a_size_of_none,
        no_such_file,
        another_file,
        weight_without_function,
        a_variable_that_forbids,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_what_python_raises_is_found(mistake):
    with pytest.raises((RunInferenceError, TypeError)) as raised:
        mistake()
    assert is_found(str(raised.value))


@pytest.mark.parametrize(
    "arguments",
    [
        "score",
        "score --handler",
        "score --handler sklearn-numpy --input x --output y",
        "score --handler sklearn-numpy --handler.model_uri m --input nothing/*.csv --output y",
        "score --handler sklearn-numpy --handler.model_uri m --input x --outptu y",
        "score --handler sklearn-numpy --config no-such-file",
        "handlers show sklearn-nunpy",
        "handlers check",
        "new 9",
    ],
)
def test_what_the_command_prints_is_found(arguments, capsys):
    assert main(arguments.split()) == 2
    assert is_found(capsys.readouterr().err.removeprefix("error: ").strip())


def test_words_that_the_page_has_not_are_not_found():
    assert not is_found("the weather is not what it should be")


def is_found(printed):
    """Whether the page has a message whose words are those of what was printed."""
    page = (DOCS / "troubleshooting.md").read_text()
    listed = re.findall(r"^- (`+) ?(.*?) ?\1$", page, re.MULTILINE)
    return any(
        constant_words(text) and re.fullmatch(re.escape(text).replace(HOLE, ".*"), printed)
        for _, text in listed
    )

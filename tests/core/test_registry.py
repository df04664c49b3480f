"""Handlers are found by name; five situations have five errors."""

import subprocess
import sys
import textwrap

import pytest

from runinference import RunInference, available_handlers, create_handler, handler_class, registry
from runinference.errors import (
    BrokenHandlerError,
    ConfigurationError,
    DuplicateHandlerError,
    HandlerLookupError,
    IncompatibleHandlerError,
    NotAHandlerError,
    UnknownHandlerError,
)


def test_a_handler_is_found_and_made(install, run):
    install("acme", {"acme": "acme_module:Handler"})
    [info] = [info for info in available_handlers() if info.distribution == "acme"]
    assert (info.name, info.version, info.target) == ("acme", "1.2", "acme_module:Handler")
    assert "acme_module" not in sys.modules
    handler = create_handler("acme", model_uri="m", scale=3.0)
    assert handler.scale == 3.0
    transform = RunInference("acme", model_uri="m", scale=3.0)
    assert transform.label == "RunInference(acme)"
    assert [result.inference for result in run.one(transform, [2.0])] == [6.0]


def test_unknown_names_say_what_is_near_and_installed(install):
    install("acme", {"acme-numpy": "acme_module:Handler"})
    with pytest.raises(
        UnknownHandlerError, match=r"did you mean 'acme-numpy'.*installed: .*acme-n"
    ):
        handler_class("acme-nunpy")


def test_a_broken_plugin_is_named_and_harms_nobody(install):
    install("bad", {"bad": "bad_module:Handler"}, source="import no_such_framework")
    install("good", {"good": "good_module:Handler"})
    assert {"bad", "good"} <= {info.name for info in available_handlers()}
    assert create_handler("good", model_uri="m")
    with pytest.raises(
        BrokenHandlerError, match=r"'bad' of bad 1\.2 .*no_such_framework"
    ) as caught:
        handler_class("bad")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_plugin_that_exits_is_broken(install):
    install("quits", {"quits": "quits_module:Handler"}, source="raise SystemExit(3)")
    with pytest.raises(BrokenHandlerError, match="SystemExit: 3"):
        handler_class("quits")


def test_two_distributions_of_one_name(install):
    install("one", {"same": "one_module:Handler"})
    install("two", {"same": "two_module:Handler"})
    with pytest.raises(DuplicateHandlerError, match=r"(one 1\.2 and two|two 1\.2 and one)"):
        handler_class("same")
    assert handler_class("one:same").__module__ == "one_module"
    assert {"one:same", "two:same"} <= {info.name for info in available_handlers()}


def test_an_own_name_cannot_be_taken_over(install):
    install("thief", {"torch-tensor": "thief_module:Handler"})
    listed = {info.name: info.distribution for info in available_handlers()}
    assert listed["thief:torch-tensor"] == "thief"
    assert handler_class("thief:torch-tensor").__module__ == "thief_module"


def test_an_own_name_leads_to_its_own_distribution_alone(install, monkeypatch):
    install("thief", {"sklearn-numpy": "thief_module:Handler"})
    # as if nothing but the thief were installed
    alone = [found for found in registry._discover() if found.info.distribution == "thief"]
    monkeypatch.setattr(registry, "_discover", lambda: alone)
    message = r"'thief:sklearn-numpy' is another one.*run: pip install runinference-sklearn"
    with pytest.raises(UnknownHandlerError, match=message):
        handler_class("sklearn-numpy")


@pytest.mark.parametrize("gate", ["runinference>=99", "RunInference<0.1"])
def test_a_plugin_for_another_version_is_not_imported(install, gate):
    install("old", {"old": "old_module:Handler"}, requires=gate, source="raise SystemExit")
    with pytest.raises(IncompatibleHandlerError, match=r"old 1\.2 needs runinference.*pip install"):
        handler_class("old")


@pytest.mark.parametrize("target", ["odd_module:function", "odd_module:textwrap"])
def test_what_is_no_handler_is_named(install, target):
    install("odd", {"odd": target}, source=f"import textwrap\n{install.source}")
    with pytest.raises(NotAHandlerError, match=r"'odd' of odd 1\.2.*not a class with load_model"):
        handler_class("odd")


def test_all_lookup_errors_have_one_base():
    for kind in (
        BrokenHandlerError,
        DuplicateHandlerError,
        IncompatibleHandlerError,
        NotAHandlerError,
        UnknownHandlerError,
    ):
        assert issubclass(kind, HandlerLookupError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_uri": "m", "scael": 1}, "no option 'scael'; did you mean 'scale'"),
        ({}, "needs model_uri=; it takes model_uri, scale"),
        ({"model_uri": "m", "max_batch_size": 1}, r"BatchConfig\(max_size=\.\.\.\)"),
    ],
)
def test_wrong_options_are_named(install, options, message):
    install("acme", {"acme": "acme_module:Handler"})
    with pytest.raises(TypeError, match=message):
        create_handler("acme", **options)


def test_an_option_that_runinference_takes_itself(install):
    source = install.source.replace("scale: float = 1.0", "scale=1.0, execution=None")
    install("greedy", {"greedy": "greedy_module:Handler"}, source=source)
    with pytest.raises(ConfigurationError, match=r"'execution'.*Handler\(execution=\.\.\.\)"):
        RunInference("greedy", model_uri="m")


def in_a_fresh_interpreter(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    ).stdout


def test_listing_imports_no_framework():
    out = in_a_fresh_interpreter(
        """
        import sys
        import runinference
        runinference.available_handlers()
        heavy = {"apache_beam", "torch", "sklearn", "pandas", "numpy", "pyarrow"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert out == "[]\n"


def test_listing_from_the_core_alone():
    done = subprocess.run(
        [sys.executable, "-m", "runinference", "handlers"],
        capture_output=True,
        text=True,
        check=True,
    )
    for info in available_handlers():
        assert f"{info.name}\t{info.distribution} {info.version}\t{info.target}" in done.stdout


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("METADATA", ""),
        ("METADATA", "Metadata-Version: 2.1\nName: hurt\n"),
        ("entry_points.txt", "[runinference.handlers]\nhurt\n"),
    ],
)
def test_a_damaged_installation_harms_nobody(install, caplog, file, content):
    (install("hurt", {"hurt": "hurt_module:Handler"}) / file).write_text(content)
    install("good", {"good": "good_module:Handler"})
    assert handler_class("good").__module__ == "good_module"
    assert "hurt" in caplog.text
    with pytest.raises(UnknownHandlerError):
        handler_class("hurt")

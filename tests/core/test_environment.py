"""Workers say what they lack, or have in another version, before they predict anything."""

import logging
import platform
import sys

import importlib_metadata
import pytest

from runinference import Execution, ModelHandler, RunInference, __version__
from runinference import environment as module
from runinference.environment import Built, Carried, built_with, compare
from runinference.errors import ConfigurationError, WorkerEnvironmentError

CORE = Built("runinference", __version__, True)
NUMPY = importlib_metadata.version("numpy")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """As in a process that has compared nothing yet."""
    monkeypatch.setattr(module, "_seen", set())


@pytest.fixture
def acme(install):
    """A handler of a distribution, acme 1.2, which requires numpy and something that is absent."""
    requires = "runinference>=0.1\nRequires-Dist: Num_Py>=1; extra == 'x'\nRequires-Dist: absent"
    requires += "\nRequires-Dist: numpy>=1\nRequires-Dist: nowhere; python_version < '3'"
    install("acme", {"acme": "acme_module:Handler"}, requires=requires)
    import acme_module

    return acme_module.Handler("uri")


class Main(ModelHandler):
    def load_model(self):
        return None

    def run_inference(self, batch, model, inference_args=None):
        return list(batch)


def test_what_a_pipeline_is_built_with(acme):
    expected = (CORE, Built("acme", "1.2", True), Built("numpy", NUMPY, False))
    assert built_with([acme]) == expected
    assert built_with([acme, Main(), acme]) == expected
    assert built_with([Main()]) == (CORE,)

    class Own(type(acme)):  # of the program, and of acme all the same
        pass

    assert built_with([Own("uri")]) == expected


def test_a_distribution_that_registers_nothing_is_found_by_its_name(install):
    handler = type("Handler", (Main,), {"__module__": "acme_tools.handlers"})()
    assert built_with([handler]) == (CORE,)
    install("acme_tools", {}, requires="")
    assert built_with([handler]) == (CORE, Built("acme-tools", "1.2", True))


@pytest.fixture
def here(monkeypatch):
    """Versions that are installed."""
    versions = {}
    monkeypatch.setattr(module, "_installed_version", versions.get)
    return versions


@pytest.mark.parametrize(
    ("version", "is_exact", "there", "found"),
    [
        ("1.2.3", True, "1.2.3", None),
        ("1.2.3", False, "1.2.3", None),
        ("2.13.0+cpu", True, "2.13.0+cu126", None),
        ("1.2.3", True, "1.2.4", "grave"),
        ("1.2.3", False, "1.2.4", "slight"),
        ("1.2.3", False, "1.3.3", "grave"),
        ("1.2", False, "2.2", "grave"),
        ("1.2.0rc1", False, "1.2.0", "slight"),
        ("1.2", False, None, "grave"),
        ("of Tuesday", False, "of Monday", "grave"),
        ("of Tuesday", True, "of Tuesday", None),
    ],
)
def test_which_versions_are_others(here, version, is_exact, there, found):
    here["a"] = there
    mismatches = compare([Built("a", version, is_exact)])
    assert [("slight" if m.is_slight else "grave") for m in mismatches] == [found] * bool(found)


def carried(*built, **options):
    return Carried("work", built, **options)


def test_a_worker_says_what_it_lacks_and_what_to_install(here):
    here.update(framework="1.5.2", plugin=None)
    work = carried(Built("framework", "1.6.0+cpu", False), Built("plugin", "0.1", True))
    with pytest.raises(WorkerEnvironmentError) as raised:
        work.unpack()
    assert str(raised.value) == (
        f"this worker ({sys.executable}) is not what the pipeline was built with: "
        "plugin is not installed here, the pipeline was built with 0.1; "
        "framework 1.5.2 is installed here, the pipeline was built with 1.6.0+cpu. "
        "Install there, in its image or requirements: pip install plugin==0.1 framework==1.6.0; "
        'Execution(on_version_mismatch="warn") only logs it'
    )
    here["framework"] = "1.6.0"
    with pytest.raises(WorkerEnvironmentError, match=r"pip install plugin==0\.1$"):
        work.unpack()
    here["plugin"] = "0.1"
    assert work.unpack() == "work"
    del here["plugin"]
    assert work.unpack() == "work"  # a process is looked at once


def test_a_difference_may_be_logged(here, caplog):
    here.update(framework="1.5.2", near="1.2.4")
    built = Built("framework", "1.6.0", False), Built("near", "1.2.3", False)
    with pytest.raises(WorkerEnvironmentError):
        carried(*built).unpack()
    with caplog.at_level(logging.WARNING, "runinference.environment"):
        for _ in range(2):
            assert carried(*built, on_mismatch="warn").unpack() == "work"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "framework 1.5.2 is installed here, the pipeline was built with 1.6.0" in told[0]
    assert "near 1.2.4 is installed here, the pipeline was built with 1.2.3" in told[1]


def test_what_cannot_be_unpickled_is_told(acme, monkeypatch):
    work = Carried(acme, built_with([acme]))
    monkeypatch.delitem(sys.modules, "acme_module")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-acme" not in p])
    with pytest.raises(WorkerEnvironmentError) as raised:
        work.unpack()
    assert "cannot unpickle the step: ModuleNotFoundError: No module named 'acme_module'" in str(
        raised.value
    )
    assert str(raised.value).endswith(
        f"Python is {platform.python_version()} here, and the pipeline was built with "
        f"{platform.python_version()}, runinference=={__version__}, acme==1.2, numpy=={NUMPY}"
    )


class Unloadable(Main):
    def load_model(self):
        raise OSError("it was loaded")


def test_a_step_says_it_before_it_loads_the_model(run, install, monkeypatch):
    install("acme", {}, requires="")
    built = Built("acme", "1.3", True)
    monkeypatch.setattr("runinference.step.built_with", lambda handlers: (built,))
    with pytest.raises(Exception, match=r"acme 1\.2 is installed here, .* built with 1\.3"):
        run.one(RunInference(Unloadable()), [1.0])
    execution = Execution(on_version_mismatch="warn")
    [result] = run.one(RunInference(Main(), execution=execution), [1.0])
    assert result.inference == 1.0


def test_only_two_ways_to_take_it():
    with pytest.raises(ConfigurationError, match='"fail" or "warn" is needed'):
        Execution(on_version_mismatch="ignore")

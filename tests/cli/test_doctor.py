"""``runinference doctor``: everything that is wrong is found, named and explained."""

import re
import textwrap

import pytest

from runinference_cli import machine, plugins


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution on the path: its metadata and one module."""

    def install(name, entries, requires="runinference>=0.1,<0.2", source="", metadata=""):
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        required = f"Requires-Dist: {requires}\n" if requires else ""
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
        (info / "METADATA").write_text(head + required + metadata)
        (info / "entry_points.txt").write_text(textwrap.dedent(entries))
        (site / f"{name}_module.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(site))

    return install


@pytest.fixture
def only_these(monkeypatch):
    """As if these distributions alone were installed beside the core and the command."""
    from runinference import registry
    from runinference.entry_points import registrations

    def only(*names):
        def chosen(group):
            return [one for one in registrations(group) if one.distribution in names]

        for module in (registry, plugins):
            monkeypatch.setattr(module, "registrations", chosen)

    return only


def handlers(*names):
    lines = "".join(f"{name} = {target}\n" for name, target in names)
    return f"[runinference.handlers]\n{lines}"


GOOD = """
    class Handler:
        def load_model(self): ...
        def run_inference(self, batch, model, inference_args=None): ...
"""


def of(findings, name):
    [found] = [finding for finding in findings if finding.name == name]
    return found


def test_handlers_and_what_is_wrong_with_them(install, only_these, monkeypatch):
    install("good", handlers(("good", "good_module:Handler")), source=GOOD)
    install("bad", handlers(("bad", "bad_module:Handler")), source="import no_such_framework")
    install("crash", handlers(("crash", "crash_module:H")), source="import os; os._exit(9)")
    install("old", handlers(("old", "old_module:Handler")), "runinference<0.1", GOOD)
    install("odd", handlers(("odd", "odd_module:Handler")), source="Handler = 3")
    install("one", handlers(("same", "one_module:Handler")), source=GOOD)
    install("two", handlers(("same", "two_module:Handler")), source=GOOD)
    install("no", handlers(("no", "no_module:Handler")), source="raise SystemExit('imported')")
    monkeypatch.setenv("RUNINFERENCE_PLUGINS_DENY", "no")
    only_these("good", "bad", "crash", "old", "odd", "one", "two", "no")
    found = plugins.handlers()
    assert of(found, "good") == plugins.Finding("handler", "good", "good 1.2")
    assert of(found, "bad").state == "broken"
    assert "No module named 'no_such_framework'" in of(found, "bad").why
    assert of(found, "crash").state == "broken"
    assert "ended with status 9" in of(found, "crash").why
    assert of(found, "old").state == "incompatible"
    assert "needs runinference<0.1" in of(found, "old").why
    assert of(found, "odd").state == "broken"
    assert of(found, "one:same").state == of(found, "two:same").state == "duplicate"
    assert "another distribution has the name 'same' too" in of(found, "one:same").why
    assert of(found, "no").state == "blocked"
    assert "RUNINFERENCE_PLUGINS_DENY names no" in of(found, "no").why


def test_a_handler_whose_framework_is_an_extra_is_not_broken(install, only_these):
    source = "import no_such_framework"
    extras = "Provides-Extra: framework\n"
    install("many", handlers(("many", "many_module:Handler")), source=source, metadata=extras)
    only_these("many")
    found = of(plugins.handlers(), "many")
    assert found.state == "no"
    assert "one of its extras may: framework" in found.why


def test_observers(install):
    entries = "[runinference.observers]\nwatch = seen_module:watch\nlost = seen_module:lost\n"
    install("seen", entries, source="watch = object()")
    found = plugins.observers()
    assert of(found, "watch").state == "ok"
    assert of(found, "lost").state == "broken"
    assert "has no attribute 'lost'" in of(found, "lost").why


def test_requirements_that_are_not_met(install):
    install("lacks", handlers(("a", "lacks_module:H")), "no-such-distribution>=3")
    install("early", handlers(("b", "early_module:H")), "numpy<1")
    install("gated", handlers(("c", "gated_module:H")), "runinference>=99")
    install("free", handlers(("d", "free_module:H")), "no-such-distribution; extra == 'all'")
    found = plugins.distributions()
    assert of(found, "lacks").state == "incomplete"
    assert "no-such-distribution>=3 is not installed; run: pip install" in of(found, "lacks").why
    assert of(found, "early").state == "incomplete"
    assert re.search(r"needs numpy<1, but 2[.\d]+ is installed", of(found, "early").why)
    assert of(found, "gated").state == "incompatible"
    assert of(found, "free").state == "ok"
    libraries = plugins.libraries()
    assert of(libraries, "apache-beam").detail.startswith("2.")
    assert of(libraries, "no-such-distribution").state == "no"


def test_devices_and_runners():
    assert re.match(r"\d+, ", of(machine.devices(), "processors").detail)
    found = machine.runners()
    assert of(found, "FnApiRunner").state == "ok"
    assert {"PrismRunner", "FlinkRunner", "DataflowRunner"} <= {one.name for one in found}
    for one in found:
        assert one.state == "ok" or one.why


def test_the_report_and_its_status(cli, only_these, install):
    install("good", handlers(("good", "good_module:Handler")), source=GOOD)
    install("bad", handlers(("bad", "bad_module:Handler")), source="import no_such_framework")
    only_these("good")
    status, out, err = cli("doctor")
    assert (status, err) == (0, ""), out
    assert out.endswith("nothing is wrong\n")
    for title in ("Installed", "Handlers", "Libraries", "Devices", "Runners"):
        assert f"\n{title}\n" in f"\n{out}"
    assert "Observers" not in out
    only_these("good", "bad")
    status, out, err = cli("doctor")
    assert (status, err) == (1, "")
    assert out.endswith("wrong: bad is broken\n")

"""What the environment forbids: plugins by distribution, and code in model files."""

import logging
import os
import subprocess
import sys

import pytest

from runinference import Execution, available_handlers, handler_class, hooks
from runinference.errors import ConfigurationError, ForbiddenHandlerError, UnknownHandlerError
from runinference.hooks import ModelClosed, Observers
from runinference.policy import VARIABLES, model_code_refusal, plugin_refusal

ALLOW, DENY = "RUNINFERENCE_PLUGINS_ALLOW", "RUNINFERENCE_PLUGINS_DENY"
FORBID = "RUNINFERENCE_FORBID_MODEL_CODE"


def names():
    return {info.name for info in available_handlers()}


def test_a_denied_distribution_is_neither_listed_nor_imported(install, monkeypatch):
    install("Acme_Plugin", {"acme": "no_such_module:Handler"})
    install("good", {"good": "good_module:Handler"})
    monkeypatch.setenv(DENY, "other, acme.plugin")
    assert "acme" not in names()
    assert "good" in names()
    for name in ("acme", "acme-plugin:acme"):
        with pytest.raises(
            ForbiddenHandlerError, match=rf"'{name}' of acme-plugin 1\.2 may not be used: .*{DENY}"
        ):
            handler_class(name)
    assert handler_class("good").__module__ == "good_module"


def test_only_allowed_distributions_are_used(install, monkeypatch):
    install("one", {"same": "one_module:Handler", "first": "one_module:Handler"})
    install("two", {"same": "two_module:Handler", "second": "two_module:Handler"})
    monkeypatch.setenv(ALLOW, "Two")
    assert names() == {"same", "second"}
    assert handler_class("same").__module__ == "two_module"  # the other one does not count
    message = rf"'first' of one 1\.2 may not be used: .*{ALLOW} allows two alone: add one to it"
    with pytest.raises(ForbiddenHandlerError, match=message):
        handler_class("first")
    with pytest.raises(ForbiddenHandlerError, match=ALLOW):
        handler_class("one:same")
    with pytest.raises(UnknownHandlerError, match="installed: same, second"):
        handler_class("absent")


def test_denied_wins_and_empty_variables_forbid_nothing(monkeypatch):
    monkeypatch.setenv(ALLOW, "acme")
    monkeypatch.setenv(DENY, "acme")
    assert DENY in plugin_refusal("acme")
    monkeypatch.setenv(ALLOW, "")
    monkeypatch.setenv(DENY, " , ")
    assert plugin_refusal("acme") is None


def test_a_foreign_own_name_is_no_reason_to_say_that_it_is_forbidden(install, monkeypatch):
    install("thief", {"torch-tensor": "thief_module:Handler"})
    monkeypatch.setenv(ALLOW, "somebody")
    with pytest.raises((UnknownHandlerError, ForbiddenHandlerError)) as raised:
        handler_class("torch-tensor")
    assert "thief 1.2" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "forbids"), [("1", True), ("no", True), ("0", False), ("", False)]
)
def test_code_in_model_files_can_be_forbidden(value, forbids, monkeypatch):
    monkeypatch.setenv(FORBID, value)
    refusal = model_code_refusal("allow_unsafe_pickle=True")
    assert (refusal is not None) == forbids
    if forbids:
        assert refusal.startswith("allow_unsafe_pickle=True is refused")
        assert FORBID in refusal


OBSERVER = """
from runinference.hooks import observer

heard = []

class Ear:
    @observer
    def model_closed(self, event): heard.append(event)

class Misspelt:
    @observer
    def model_closd(self, event): heard.append(event)

def leave(): raise SystemExit(3)
"""


@pytest.fixture
def observers(install, monkeypatch):
    """Installs distributions with an observer each; ``heard(name)``: what one of them heard."""

    def put(**targets):
        for name, target in targets.items():
            install(name, {"ear": target}, source=OBSERVER, group="runinference.observers")

    def heard(name):
        hooks._installed.cache_clear()
        Observers().model_closed(ModelClosed("handler", None))
        return list(__import__(f"{name}_module").heard)

    put.heard = heard
    yield put
    hooks._installed.cache_clear()


@pytest.mark.parametrize("broken", ["bad_module:leave", "bad_module:Misspelt", "nowhere:Ear"])
def test_a_broken_observer_harms_nobody(observers, broken, caplog):
    observers(bad=broken, good="good_module:Ear")
    assert observers.heard("good") == [ModelClosed("handler", None)]
    assert "observer 'ear' of bad 1.2 cannot be used" in caplog.text


def test_observers_of_distributions_that_are_not_allowed_are_not_imported(
    observers, monkeypatch, caplog
):
    observers(good="good_module:Ear", bad="nowhere:Ear")
    monkeypatch.setenv(DENY, "bad")
    with caplog.at_level(logging.WARNING):
        assert len(observers.heard("good")) == 1
    [record] = caplog.records
    assert f"observer 'ear' of bad 1.2 is not used: the environment variable {DENY}" in (
        record.getMessage()
    )


def test_a_prohibition_stays_whatever_a_pipeline_says():
    program = (
        "import os, runinference.policy as policy\n"
        f"os.environ[{FORBID!r}] = '0'\n"
        "print(policy.model_code_refusal('x') is not None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, FORBID: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize("name", VARIABLES)
def test_a_pipeline_cannot_set_the_variables_for_its_workers(name):
    with pytest.raises(ConfigurationError, match=rf"{name}.*set it in their environment"):
        Execution(env_vars={name: "0"})

"""The commands besides ``score``, and what help says."""

import re

from runinference import __version__


def test_handlers_are_listed_in_columns_without_importing_any(cli):
    status, out, err = cli("handlers")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(r"HANDLER +DISTRIBUTION +VERSION", lines[0])
    assert any(re.fullmatch(r"broken +acme-plugin +1\.5", line) for line in lines)
    start = lines[0].index("DISTRIBUTION")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines)


def test_no_handlers_say_what_to_install(cli, monkeypatch):
    monkeypatch.setattr("runinference.registry.registrations", lambda group: [])
    assert cli("handlers").out == (
        "no handlers installed; for example: pip install runinference-sklearn\n"
    )


def test_a_handlers_options_come_from_its_signature_and_docstring(cli):
    status, out, _ = cli("handlers", "show", "linear")
    assert status == 0
    assert out.startswith(
        "linear (acme-plugin 1.5)\n\nWeights in a JSON file, times the columns.\n"
    )
    assert "--handler.model_uri  (str, required)\n      the file with `weights`.\n" in out
    assert "--handler.scale  (float, default 1.0)\n      multiplies every prediction.\n" in out
    assert "(one of 'number', 'vector', 'parts', 'text', default 'number')\n" in out


def test_a_handler_without_options(cli):
    assert "\nIt takes no options.\n" in cli("handlers", "show", "changing").out


def test_showing_a_handler_that_is_not_there_or_broken(cli):
    status, _, err = cli("handlers", "show", "liner")
    assert status == 2
    assert err.startswith("error: no handler 'liner'; did you mean 'linear'?")
    status, _, err = cli("handlers", "show", "broken")
    assert status == 2
    assert "handler 'broken' of acme-plugin 1.5 cannot be imported" in err


def test_version_and_help(cli):
    assert cli("--version").out == f"runinference {__version__}\n"
    status, out, _ = cli()
    assert status == 2
    assert "score" in out
    assert "handlers" in out
    assert cli("--help").status == 0
    status, _, err = cli("sore")
    assert status == 2
    assert "'sore'" in err


def test_help_of_a_run_tells_the_handlers_options_once_it_is_named(cli):
    status, out, _ = cli("score", "--help")
    assert status == 0
    assert "--batching.max_size" in out
    assert "--execution.env_vars" in out
    assert "--handler.model_uri" not in out
    status, out, _ = cli("score", "--handler", "linear", "--help")
    assert status == 0
    assert "options of linear:\n  --handler.model_uri MODEL_URI" in out

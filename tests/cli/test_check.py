"""``runinference handlers check``: the conformance checks from the command line."""

import subprocess
import sys

import pytest

from runinference.testing import HandlerChecks

USAGE, FAILED = 2, 1


@pytest.fixture
def check(cli, write):
    """Checks a handler of the plugin with four rows."""
    write("examples.parquet", a=[1.0, 2.0, 3.0, 4.0], b=[1, -1, 2, 0], name=["w", "x", "y", "z"])

    def run(*arguments, handler="linear", examples="examples.parquet"):
        model = () if handler != "linear" else ("--handler.model_uri", "model.json")
        return cli("handlers", "check", handler, *model, "--examples", examples, *arguments)

    return run


def results(out):
    """The table's result and text of each check."""
    found = {}
    for line in out.splitlines():
        if line.startswith("│"):
            name, outcome, text = (cell.strip() for cell in line.strip("│").split("│"))
            if name:
                found[name] = [outcome, text]
                last = name
            else:
                found[last][1] += f" {text}"
    return found


def test_a_handler_that_keeps_the_contract(check):
    status, out, err = check("--other-model", "model.json", "--rows", "3")
    assert status == FAILED  # the other model is the same one
    found = results(out)
    assert list(found) == list(HandlerChecks.names)
    assert found["check_update_model_path"][0] == "failed"
    assert "the other_model= given is no other model" in found["check_update_model_path"][1]
    status, out, err = check()
    assert (status, err) == (0, "")
    found = results(out)
    assert {outcome for outcome, _ in found.values()} == {"passed", "skipped"}
    assert found["check_lengths"] == ["skipped", "the handler has no length()"]
    assert found["check_requirement_on_runinference"][0] == "passed"
    assert out.splitlines()[-1] == "28 passed, 1 skipped"


def test_features_and_arguments_and_csv(check, folder):
    (folder / "rows.csv").write_text("a,b,c\n1,2,x\n3,4,y\n5,-6,z\n")
    given = ("--features", "b,a", "--inference-args.offset", "3", "--handler.scale", "2")
    status, out, _ = check(*given, examples="rows.csv")
    assert status == 0, out


def test_a_handler_that_fails(check):
    status, out, err = check("--expected-failed-checks.check_lengths", "none", handler="changing")
    assert (status, err) == (FAILED, "")
    found = results(out)
    assert found["check_lengths"][0] == "failed"
    assert "expected to fail, but does not apply" in found["check_lengths"][1]
    assert found["check_batch_equals_singles"][0] == "failed"


def test_a_model_that_does_not_load_is_told_once(check):
    status, out, _ = check("--handler.model_uri", "absent.json")
    assert status == FAILED
    found = results(out)
    assert "'absent.json' does not exist" in found["check_loads_twice"][1]
    assert found["check_empty_batch"] == ["failed", "as check_loads_twice"]
    assert found["check_options_are_typed"][0] == "passed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which handler? say runinference handlers check NAME --examples FILE"),
        (("linear", "--handler.model_uri", "m"), "missing: --examples"),
        (("linear", "--examples", "in"), "missing: --handler.model_uri"),
        (("liner", "--examples", "in"), "did you mean 'linear'?"),
        (("linear", "--handler.modle", "m", "--examples", "in"), "--handler.modle"),
        (("linear", "--handler.model_uri", "m", "--examples", "absent.parquet"), "no such file"),
        (("linear", "--handler.model_uri", "m", "--examples", "in", "--rows", "1"), "2 examples"),
        (
            [
                "linear",
                "--handler.model_uri",
                "m",
                "--examples",
                "in",
                "--expected-failed-checks.nil",
                "x",
            ],
            "no check 'nil'",
        ),
    ],
)
def test_what_cannot_be_checked(cli, arguments, message):
    status, out, err = cli("handlers", "check", *arguments)
    assert (status, out) == (USAGE, "")
    assert err.startswith("error: ")
    assert message in err


def test_help(cli):
    status, out, _ = cli("handlers", "check", "--help")
    assert status == 0
    assert "--expected-failed-checks" in out
    assert "options of linear:" in cli("handlers", "check", "linear", "--help").out


def test_pytest_is_not_needed(plugin, folder):
    program = (
        "import sys; sys.modules['pytest'] = None; sys.path.insert(0, sys.argv.pop(1));"
        "from runinference_cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, str(plugin), "handlers", "check", "linear"]
    given = ["--handler.model_uri", "model.json", "--examples", "in/a.parquet"]
    done = subprocess.run([*command, *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "28 passed, 1 skipped" in done.stdout

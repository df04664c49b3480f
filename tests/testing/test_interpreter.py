"""A program in a fresh interpreter: its answer, and every way to end without one."""

import sys

import pytest

from runinference.testing.interpreter import ChildError, run_child


def test_an_answer_whatever_is_printed():
    assert run_child("print('noise'); answer = payload + 1", 2) == 3


def test_it_shares_the_path_and_nothing_else(monkeypatch):
    monkeypatch.syspath_prepend("/somewhere")
    assert run_child("answer = sys.path[0]", None) == "/somewhere"
    sys.modules["known_here_alone"] = sys
    try:
        with pytest.raises(ChildError, match="No module named 'known_here_alone'"):
            run_child("import known_here_alone", None)
    finally:
        del sys.modules["known_here_alone"]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise ValueError('why')", "^ValueError: why$"),
        ("import os; os._exit(9)", "ended with status 9"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with status -9"),
    ],
)
def test_without_an_answer(program, message):
    with pytest.raises(ChildError, match=message):
        run_child(program, None)


def test_one_that_hangs():
    with pytest.raises(ChildError, match=r"did not end within 0\.5 seconds"):
        run_child("import time; time.sleep(60)", None, timeout_s=0.5)

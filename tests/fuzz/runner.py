"""Damage small model files in many ways and tell how loading each ended; a program of its own.

    python tests/fuzz/runner.py FORMAT... [--cuts N] [--flips N] [--seed N] [--case CASE]

Each case runs in a process that was forked from this one, which may crash, hang or ask for too
much memory. A line of the output is a JSON object for each format: how often each ending was, and
the cases with an ending that none should have.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import resource
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from subjects import SUBJECTS, Subject

from runinference.batch import RowBatch
from runinference.config import Execution
from runinference.errors import ModelLoadError
from runinference.model import LocalModel
from runinference.versions import ModelVersion

CPU_SECONDS_PER_CASE = 10
SECONDS_PER_CASE = 200  # of the clock, which a busy machine makes mean little
EXTRA_MEMORY = 2 << 30
GOOD = ("refused", "predicts")


def make_cases(size: int, cuts: int, flips: int, seed: int) -> list[str]:
    """``cut:LENGTH`` and ``flip:BIT,BIT``; every length where there are as many cuts as bytes."""
    chosen = random.Random(seed)
    lengths = range(size) if cuts >= size else sorted(chosen.sample(range(size), cuts))
    cases = {f"cut:{length}": None for length in lengths}
    for _ in range(flips):
        bits = chosen.sample(range(8 * size), chosen.choice((1, 1, 1, 2, 8)))
        cases["flip:" + ",".join(map(str, bits))] = None
    return list(cases)


def damage(data: bytes, case: str) -> bytes:
    """The file as a case has it."""
    kind, _, numbers = case.partition(":")
    if kind == "cut":
        return data[: int(numbers)]
    changed = bytearray(data)
    for bit in map(int, numbers.split(",")):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def ending(subject: Subject, path: str) -> str:
    """How loading with warm-up examples ends, and how predicting afterwards."""
    execution = Execution(warmup_examples=subject.examples)
    try:
        model = LocalModel(ModelVersion(subject.handler(path), "", execution=execution))
    except ModelLoadError as error:
        return "refused" if path in str(error) else f"does not name its file: {error!s:.200}"
    except BaseException as error:  # noqa: BLE001 - which one is the question
        return f"{type(error).__name__} at load: {error!s:.200}"
    try:
        predictions = model.predict(RowBatch(subject.examples), None)
    except BaseException as error:  # noqa: BLE001 - which one is the question
        return f"{type(error).__name__} at predict: {error!s:.200}"
    return "predicts" if len(predictions) == len(subject.examples) else "wrong count"


def run(subject: Subject, cases: list[str]) -> dict[str, str]:
    """The ending of each case."""
    endings: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        while len(endings) < len(cases):
            rest = cases[len(endings) :]
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                _run_here(subject, rest, folder, writer)
            os.close(writer)
            with os.fdopen(reader) as lines:
                told = [json.loads(line) for line in lines if line.endswith("\n")]
            _, status = os.waitpid(child, 0)
            endings.update(zip(rest, told, strict=False))
            if len(told) < len(rest):
                endings[rest[len(told)]] = _abrupt(status)
    return endings


def _abrupt(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hangs = number in (signal.SIGALRM, signal.SIGPROF)
        return "hangs" if hangs else f"crashes: {signal.Signals(number).name}"
    return f"leaves with {os.waitstatus_to_exitcode(status)}"


def _run_here(subject: Subject, cases: list[str], folder: str, writer: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = Path(folder, "model")
    try:
        for case in cases:
            path.write_bytes(damage(subject.data, case))
            # each ends the process, whatever it is in
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_PER_CASE)
            signal.alarm(SECONDS_PER_CASE)
            told = ending(subject, str(path))
            os.write(writer, json.dumps(told).encode() + b"\n")
    finally:
        os._exit(0)


def fuzz(name: str, told: argparse.Namespace) -> dict[str, Any]:
    """The endings of all cases of a format."""
    subject = SUBJECTS[name]()
    with tempfile.NamedTemporaryFile() as whole:  # imports here what each child needs
        Path(whole.name).write_bytes(subject.data)
        assert ending(subject, whole.name) == "predicts"
    size = len(subject.data)
    endings = run(subject, told.case or make_cases(size, told.cuts, told.flips, told.seed))
    counts = collections.Counter(e if e in GOOD else e.split(":")[0] for e in endings.values())
    bad = {case: e for case, e in endings.items() if e not in GOOD}
    return {"format": name, "bytes": size, "endings": counts, "bad": bad}


def main() -> None:
    """Run what the command line says, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formats", choices=SUBJECTS, nargs="+")
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", action="append", help="such as cut:17 or flip:12,345")
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"  # a fork has no threads but its own
    for name in told.formats:
        print(json.dumps(fuzz(name, told)), flush=True)


if __name__ == "__main__":
    main()

"""However a model file is damaged: it is refused, or its model predicts.

The normal run takes some places of each file; ``make fuzz`` cuts at every byte and flips many bits.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
FLIPS = int(os.environ.get("FUZZ_FLIPS", "40"))
CUTS = 1_000_000 if "FUZZ_FLIPS" in os.environ else 25
SEED = os.environ.get("FUZZ_SEED", "1")
FORMATS = {
    "sklearn": [
        *("pickle", "pickle-tree", "pickle-forest", "pickle-boosted", "pickle-neighbours"),
        *("pickle-svm", "joblib", "joblib-tree", "joblib-zlib", "joblib-gzip", "joblib-bz2"),
        *("joblib-xz", "joblib-lzma", "skops", "skops-tree"),
    ],
    "torch": ["torch-zip", "torch-legacy", "safetensors", "torch-script", "torch-export"],
}


@pytest.mark.parametrize("framework", FORMATS)
def test_a_damaged_file_is_refused_or_its_model_predicts(framework):
    options = [f"--cuts={CUTS}", f"--flips={FLIPS}", f"--seed={SEED}"]
    command = [sys.executable, str(FOLDER / "runner.py"), *FORMATS[framework], *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["format"] for result in results] == FORMATS[framework]
    for result in results:
        print(result["format"], result["endings"])
        assert result["bad"] == {}, f"{result['format']}, seed {SEED}"
        assert result["endings"]["refused"] >= min(CUTS, result["bytes"]) * 0.8


HANDLER = """
    import json, os, sys
    sys.path.insert(0, sys.argv[1])
    import runner
    from runinference import ModelHandler
    from runinference.errors import ModelLoadError

    class Handler(ModelHandler):
        def __init__(self, path):
            self.model_path = path

        def load_model(self):
            data = open(self.model_path, "rb").read()
            if data == b"a": os.abort()
            while data == b"ab": pass
            if data == b"": bytearray(1 << 40)
            if data == b"bbc": raise SystemExit(3)
            if data == b"cbc": raise ModelLoadError("without its path")

        def run_inference(self, batch, model, inference_args=None):
            return list(batch)

    runner.CPU_SECONDS_PER_CASE = 0.5
    cases = ["cut:3", "cut:1", "cut:2", "cut:0", "flip:0,1", "flip:1"]
    print(json.dumps(runner.run(runner.Subject(b"abc", Handler, [1]), cases)))
"""


def test_the_runner_tells_what_happened():
    command = [sys.executable, "-c", textwrap.dedent(HANDLER), str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "cut:3": "predicts",
        "cut:1": "crashes: SIGABRT",
        "cut:2": "hangs",
        "cut:0": "MemoryError at load: ",
        "flip:0,1": "SystemExit at load: 3",
        "flip:1": "does not name its file: without its path",
    }

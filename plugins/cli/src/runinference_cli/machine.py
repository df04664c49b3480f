"""Which devices this machine has, and which of Beam's runners can start on it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from runinference.testing.interpreter import ChildError, run_child
from runinference_cli.plugins import Finding

__all__ = ["devices", "runners"]

_ASK_TORCH = """
import torch
answer = [f"{torch.cuda.get_device_name(i)} (cuda:{i})" for i in range(torch.cuda.device_count())]
if torch.backends.mps.is_available():
    answer.append("Apple GPU (mps)")
"""
_ASK_ONNX = """
import onnxruntime
answer = onnxruntime.get_available_providers()
"""
_RUN = """
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
_ = pipeline | beam.Create([1]) | beam.Map(str)
answer = str(pipeline.run().wait_until_finish())
"""


def devices() -> list[Finding]:
    """Processors, GPUs, and what the frameworks see of them."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [Finding("device", "processors", f"{count}, {platform.machine()}")]
    found.append(_nvidia())
    for module, name, program in (
        ("torch", "PyTorch's devices", _ASK_TORCH),
        ("onnxruntime", "ONNX Runtime's providers", _ASK_ONNX),
    ):
        if importlib.util.find_spec(module) is not None:
            found.append(_asked(name, program))
    return found


def runners() -> list[Finding]:
    """Every runner that people ask for, and what it lacks here."""
    return [
        _embedded(),
        _runner("PrismRunner", _prism()),
        _runner("FlinkRunner", _java()),
        _runner("SparkRunner", _java()),
        _runner("PortableRunner", "", "needs a job server of yours: --job_endpoint"),
        _runner("DataflowRunner", _module("google.cloud.storage", "apache-beam[gcp]")),
        _runner("DaskRunner", _module("dask.distributed", "apache-beam[dask]")),
    ]


def _nvidia() -> Finding:
    command = shutil.which("nvidia-smi")
    if command is None:
        return Finding("device", "NVIDIA GPUs", "", "no", "there is no nvidia-smi")
    query = [command, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("device", "NVIDIA GPUs", "", "no", str(error))
    if done.returncode:
        said = (done.stdout or done.stderr).strip()
        return Finding("device", "NVIDIA GPUs", "", "no", f"nvidia-smi: {said}")
    return Finding("device", "NVIDIA GPUs", ", ".join(done.stdout.split("\n")[:-1]))


def _asked(name: str, program: str) -> Finding:
    try:
        answer: list[str] = run_child(program, None)
    except ChildError as error:
        return Finding("device", name, "", "no", f"it cannot be imported: {error}")
    return Finding("device", name, ", ".join(answer) or "cpu")


def _embedded() -> Finding:
    try:
        state: Any = run_child(_RUN, None)
    except ChildError as error:
        return Finding("runner", "FnApiRunner", "in this process", "broken", str(error))
    if state != "DONE":
        why = f"a pipeline of one element ended as {state}"
        return Finding("runner", "FnApiRunner", "in this process", "broken", why)
    return Finding("runner", "FnApiRunner", "in this process, the default")


def _runner(name: str, lacks: str, detail: str = "") -> Finding:
    return Finding("runner", name, detail, "no" if lacks else "ok", lacks)


def _prism() -> str:
    if shutil.which("prism") or any(Path.home().glob(".apache_beam/cache/prism/bin/*")):
        return ""
    return "its program is not here; Beam downloads it when it is first used"


def _java() -> str:
    if shutil.which("java") is None:
        return "there is no java, which its job server runs on"
    return ""


def _module(module: str, requirement: str) -> str:
    try:
        is_there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        is_there = False
    return "" if is_there else f"run: pip install '{requirement}'"

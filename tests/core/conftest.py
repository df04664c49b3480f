"""Distributions to install for a test, and nothing that stays for the next one."""

import sys

import pytest

from runinference.keyed_models import KeyedModels
from runinference.updates import Current

HANDLER = """
class Handler:
    def __init__(self, model_uri: str, scale: float = 1.0): self.scale = scale
    def load_model(self): return self.scale
    def run_inference(self, batch, model, inference_args=None): return [x * model for x in batch]

def function(): pass
"""


class Installer:
    """``install(name, {entry: target})`` puts a distribution on the path."""

    source = HANDLER

    def __init__(self, folder, monkeypatch):
        self._folder = folder
        self._monkeypatch = monkeypatch

    def __call__(
        self,
        name,
        entry_points,
        requires="runinference>=0.1,<0.2",
        source=HANDLER,
        group="runinference.handlers",
    ):
        site = self._folder / f"site-{name}"
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        required = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n{required}"
        )
        lines = "".join(f"{entry} = {target}\n" for entry, target in entry_points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        (site / f"{name}_module.py").write_text(source)
        self._monkeypatch.syspath_prepend(str(site))
        self._monkeypatch.delitem(sys.modules, f"{name}_module", raising=False)
        return info


@pytest.fixture
def install(tmp_path, monkeypatch):
    return Installer(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _nothing_is_kept():
    """As at the end of the process: some runners make models stay for the next bundle."""
    yield
    for copies in (Current._copies, KeyedModels._copies):
        copies._end_kept()

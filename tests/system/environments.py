"""Virtual environments that hold third-party packages and, of ours, only wheels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "Environment", "run"]

ROOT = Path(__file__).parents[2]


def run(
    *command: str | Path, check: bool = True, cwd: str | Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command, with what it says kept."""
    result = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=600, cwd=cwd
    )
    if check:
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


class Environment:
    """A virtual environment with third-party packages and, of ours, only the wheels installed."""

    def __init__(self, folder: Path, third_party: Path, dist: Path) -> None:
        self.bin = folder / "bin"
        self.dist = dist
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "third_party.pth").write_text(f"{third_party}\n")
        options = f"--no-index --no-build-isolation --find-links '{dist}'"
        pip = f"'{sys.executable}' -m pip --isolated --python '{self.bin}/python'"
        self._program("pip", f'shift; exec {pip} install {options} "$@"')
        self._program("pytest", f"exec '{self.bin}/python' -m pytest \"$@\"")

    def _program(self, name: str, command: str) -> None:
        """What a command would be if the environment had been filled by pip."""
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{command}\n")
        path.chmod(0o755)

    def install(self, *requirements: str | Path) -> None:
        """By the resolver, with our wheels as its only source of packages."""
        run(self.bin / "pip", "install", *requirements)

    def python(self, program: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program that sees the environment alone."""
        return run(self.bin / "python", "-I", "-c", program, check=check)

    def shell(self, command: str, cwd: Path) -> str:
        """What a command line prints, with the environment's programs before all others."""
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            capture_output=True,
            text=True,
            timeout=600,
            cwd=cwd,
            env={**outside, "PATH": path},
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout

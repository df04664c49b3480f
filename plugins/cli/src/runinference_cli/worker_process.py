"""A worker process of the embedded runner that shows no more of its logs than the command does.

``python -m runinference_cli.worker_process [LEVEL]`` stands for Beam's own program, which logs all
that it does to standard error.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

from runinference_cli.logs import logging_to_stderr

__all__ = ["main", "with_quiet_workers"]


def with_quiet_workers(runner: Any, level: str | None) -> Any:
    """The embedded runner itself, which starts its worker processes with this program.

    Args:
        runner: where it starts none, nothing changes.
        level: of the logs to show; few where None.
    """
    from apache_beam.portability import python_urns

    run = runner.run_via_runner_api
    command = [sys.executable, "-m", "runinference_cli.worker_process"]
    command += [] if level is None else [level]

    def run_quietly(pipeline: Any, options: Any) -> Any:
        for environment in pipeline.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = shlex.join(command).encode()
        return run(pipeline, options)

    runner.run_via_runner_api = run_quietly
    return runner


def main() -> None:
    """Work until the runner says that there is no more to do."""
    level = sys.argv[1] if len(sys.argv) > 1 else None
    with logging_to_stderr(level):
        from apache_beam.runners.worker import sdk_worker_main

        sdk_worker_main.main(sys.argv[:1])


if __name__ == "__main__":
    main()

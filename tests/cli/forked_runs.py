"""Run the command line in forks of one interpreter, which has imported and run it once before.

Reads a line of JSON per run from standard input: its ``arguments``, its ``folder``, the ``log`` for
what it prints, and where wanted the number of a ``signal`` that it gets at its n-th ``step`` in the
output or the staging folder (of all ``STEPS``, or of those that ``only`` names); at step 0 it gets
none, and prints how many there are. Answers with a line of its process id, which is that of its
group too, and at its end with one of its status.

The first run is made in this process.
"""

import atexit
import contextlib
import json
import os
import signal
import sys

from runinference_cli.main import main

STEPS = {
    "fcntl.flock",
    "open",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.scandir",
}


def signal_at(step, number, kinds):
    """Send this process a signal right before its n-th step of these kinds."""
    done = 0

    def count(event, arguments):
        nonlocal done
        if event not in kinds:
            return
        named = [os.fspath(name) for name in arguments if isinstance(name, str | os.PathLike)]
        # a removal names what it removes from within the folder that it has opened
        is_within = event in ("os.remove", "os.rmdir", "fcntl.flock")
        if is_within or any(".partial-" in name or name.endswith("/out") for name in named):
            done += 1
            if done == step:
                os.kill(os.getpid(), number)

    sys.addaudithook(count)
    if step == 0:
        atexit.register(lambda: print(done))


def become(request):
    """Run the command in this process, to the process's end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(request["log"], "wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(request["folder"])
    if "step" in request:
        signal_at(request["step"], request["signal"], request.get("only", STEPS))
    sys.exit(main(request["arguments"]))


first = json.loads(sys.stdin.readline())
os.chdir(first["folder"])
with contextlib.redirect_stdout(sys.stderr):
    status = main(first["arguments"])
print(os.getpid(), status, sep="\n", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        become(json.loads(line))
    with contextlib.suppress(PermissionError):  # it has done so itself and gone on
        os.setpgid(child, child)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

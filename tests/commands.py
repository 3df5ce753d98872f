"""Runs the program's commands, each in a process of its own.

The processes are forked from one that has imported JAX and has not started it, because importing
takes longer than most of what the tests ask for.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORTED = ["stackgan_jax.sheets", "stackgan_jax.stages", "stackgan_jax.evaluation.evaluate"]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(IMPORTED)


def command(*arguments, module="main", cwd=".", environment=None) -> subprocess.CompletedProcess:
    """What `python -m stackgan_jax.<module> <arguments>` does in the folder `cwd`.

    `environment` holds further variables.
    """
    arguments = [f"stackgan_jax.{module}", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        process = PROCESSES.Process(
            target=_run, args=(arguments, os.path.abspath(cwd), streams, environment)
        )
        process.start()
        process.join()
        printed = [stream.read_text() for stream in streams]
    return subprocess.CompletedProcess(arguments, process.exitcode, *printed)


def _run(arguments, folder, streams, environment):
    os.environ.update(environment or {})
    for number, stream in enumerate([os.devnull, *streams]):
        opened = os.open(stream, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, closefd=False) for number, mode in enumerate(["r", "w", "w"])
    )
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)

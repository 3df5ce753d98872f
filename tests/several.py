"""Runs of several processes on this machine, connected by Gloo, for tests."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from stackgan_jax.models import convolution

CONFIG = """
import json
from ml_collections import ConfigDict
def get_config():
    return ConfigDict(tuples(json.loads({text!r})))

def tuples(tree):
    if isinstance(tree, dict):
        return {{key: tuples(value) for key, value in tree.items()}}
    return tuple(tree) if isinstance(tree, list) else tree
"""


def config_file(config, folder: Path) -> Path:
    """Writes a config as a file for --config, and returns its path."""
    path = folder / f"config{len(list(folder.glob('config*.py')))}.py"
    path.write_text(CONFIG.format(text=config.to_json_best_effort()))
    return path


def free_port() -> int:
    """Returns a TCP port that nothing listens on."""
    with socket.socket() as any_port:
        any_port.bind(("localhost", 0))
        return any_port.getsockname()[1]


def slurm(number: int, count: int) -> dict[str, str]:
    """Returns the environment variables that Slurm sets for process `number` of `count`."""
    return {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
    }


class Run:
    """Started processes that train one config into one workdir together.

    Args:
        count: the number of processes.
        devices: the number of devices of each process.
        config: the file of the config.
        workdir: the folder of the run.
        flags: further options of all processes.
        own: further options of each process.
        cwd: the current folder of each process.
        cluster: a function, for example `slurm`, that replaces the options --coordinator,
            --num_processes and --process_id.
    """

    def __init__(self, count, devices, config, workdir, *flags, own=None, cwd=None, cluster=None):
        options = convolution.compiler_options("cpu", once=True)
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "XLA_FLAGS": " ".join(f"--{name}={value}" for name, value in options.items()),
        }
        address = f"--coordinator=localhost:{free_port()}"
        self.processes = []
        for number in range(count):
            several = [address, f"--num_processes={count}", f"--process_id={number}"]
            command = [sys.executable, "-m", "stackgan_jax.main", f"--config={config}"]
            command += [f"--workdir={workdir}", "--peer_timeout=100", *flags]
            command += ([] if count == 1 or cluster else several) + (own[number] if own else [])
            self.processes.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=environment | (cluster(number, count) if cluster else {}),
                    cwd=cwd[number] if cwd else None,
                )
            )

    def ended(self, timeout=600):
        """Waits for all processes; returns their exit statuses and their outputs."""
        try:
            outputs = [process.communicate(timeout=timeout)[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [process.returncode for process in self.processes], outputs

    def wait_for_line(self, part):
        """Reads the output of process 0 up to a line that contains `part`."""
        for line in self.processes[0].stdout:
            if part in line:
                return
        raise AssertionError(f"process 0 ended without {part!r}")

    def kill_child(self, number):
        """Sends SIGKILL to the child of a process's supervising parent, which trains."""
        parent = self.processes[number].pid
        (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)


def log(workdir: Path) -> list[dict]:
    """Returns the lines of a run's metrics.jsonl without their times."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]

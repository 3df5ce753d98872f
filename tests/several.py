"""Runs of several processes on this machine, for tests: real ones, over gloo."""

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
    """A config as a file that --config can name."""
    path = folder / f"config{len(list(folder.glob('config*.py')))}.py"
    path.write_text(CONFIG.format(text=config.to_json_best_effort()))
    return path


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("localhost", 0))
        return any_port.getsockname()[1]


def slurm(number: int, count: int) -> dict[str, str]:
    """What Slurm tells each process of a step."""
    return {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
    }


class Run:
    """`count` processes of `devices` devices each, training `config` into `workdir`.

    `flags`: for all; `own`: for each process, its own; `cluster`: `slurm`, where no flag says who
    they are.
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
        """Waits for all → each one's exit status and output."""
        try:
            outputs = [process.communicate(timeout=timeout)[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [process.returncode for process in self.processes], outputs

    def wait_for_line(self, part):
        """Reads process 0's output until a line with `part`."""
        for line in self.processes[0].stdout:
            if part in line:
                return
        raise AssertionError(f"process 0 ended without {part!r}")

    def kill_child(self, number):
        """SIGKILL to what the supervising parent of a process watches over: the trainer."""
        parent = self.processes[number].pid
        (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)


def log(workdir: Path) -> list[dict]:
    """What a run wrote to its log, without times."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]

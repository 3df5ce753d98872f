"""The program that serves the page, started as a user starts it."""

import socket
import subprocess
import sys


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(workdir, port, *more) -> subprocess.Popen:
    command = [sys.executable, "-m", "stackgan_jax.main", "--mode=serve"]
    return subprocess.Popen(
        [*command, f"--workdir={workdir}", f"--port={port}", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

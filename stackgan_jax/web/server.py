"""Serves the page until Ctrl-C or SIGTERM."""

import gc
import os
import signal
import socket
import time
from pathlib import Path

from stackgan_jax.pretrained import loading
from stackgan_jax.runtime import allocator, packages
from stackgan_jax.runtime.errors import UserError

# What it reads when it is imported.
GRADIO = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # or it asks for its newest version, and reports usage
    # Or it makes a table of the last 10,000 requests after each, and takes 100 MB for it.
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
    "GRADIO_ANALYTICS_MAX_EVENTS": "100",
}
TIDY_EVERY = 10  # seconds


def serve(source: str | Path | None, host: str, port: int) -> None:
    """Serves the page of a model until Ctrl-C or SIGTERM.

    Args:
        source: a model, as `stackgan_jax.load` takes it; None for the built-in one.
        host: address of this machine to listen at; "127.0.0.1" is for this machine alone, "0.0.0.0"
            for everyone who can reach it.
        port: to listen at.

    Raises:
        UserError: Gradio is missing, the address can't be used, or the model can't read sentences.
    """
    for name, value in GRADIO.items():
        os.environ.setdefault(name, value)
    with packages.needed("Gradio", by="The page", install="gradio"):
        import gradio
    from stackgan_jax.web import page

    _require_free(host, port)
    allocator.share_arenas()
    model = loading.load(source)
    answers = page.Page(model)
    # What must be compiled is compiled before the first visitor comes.
    captions = model.captions or ["a bird"]
    list(answers.pictures(captions[0], 1, 0, 0.0))
    blocks = answers.blocks()
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            css=page.STYLE,
            theme=gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        )
    except OSError as error:
        raise UserError(_used(host, port, error)) from error
    ended: list[int] = []  # by which signals; more than one must not disturb the end
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: ended.append(number))
    print(f"{model}\nThe page is at {address} until Ctrl-C.", flush=True)
    _wait_and_tidy(ended)
    print("\nThe page is closed.", flush=True)
    blocks.close(verbose=False)


def _wait_and_tidy(ended: list[int]) -> None:
    """Returns when `ended` is not empty; memory of requests that are answered is given back."""
    gc.freeze()  # What is there now stays: collecting becomes quick.
    tidied = time.monotonic()
    while not ended:
        time.sleep(0.2)
        if time.monotonic() - tidied > TIDY_EVERY:
            gc.collect()  # Gradio's answers are in cycles, and hold pictures.
            allocator.give_back_freed_memory()
            tidied = time.monotonic()


def _require_free(host: str, port: int) -> None:
    """Raises UserError if this machine can't listen at the address, before anything is loaded."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise UserError(_used(host, port, error)) from error


def _used(host: str, port: int, error: OSError) -> str:
    return (
        f"--host={host} --port={port} can't be listened at ({error.strerror or error}); choose "
        f"another port, for example --port={port + 1 if port < 65535 else 7860}."
    )

"""The web page, asked over HTTP as its visitors' browsers do."""

import queue
import re
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import free_port, start

import stackgan_jax
from stackgan_jax.web import server as server_module

pytest.importorskip("gradio")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RED = "a small red bird with black wings"


@pytest.fixture(scope="module")
def visitor(server, tmp_path_factory):
    """Makes visitors; what they download, and forget to delete, lies in a folder of the tests."""
    from gradio_client import Client

    folder = str(tmp_path_factory.mktemp("downloaded"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        yield lambda: Client(server[0], download_files=folder, verbose=False)


@pytest.fixture(scope="module")
def client(visitor):
    return visitor()


def pictures(galleries) -> list[list[Image.Image]]:
    return [[Image.open(each["image"]) for each in gallery] for gallery in galleries]


def test_draws_both_stages_as_python_does_with_the_recipe_inside(runs, client):
    small, large = pictures(client.predict(RED, 2, 5, 0, api_name="/draw"))
    expected = stackgan_jax.load(runs / "stage2").draw(RED, seeds=[5, 6])
    for picture, other in zip(large, expected, strict=True):
        assert np.abs(np.int32(picture) - np.int32(other)).max() <= 1
    assert [each.size for each in (small[0], large[0])] == [(16, 16), (64, 64)]
    assert large[1].text["caption"] == RED and large[1].text["seed"] == "6"
    assert large[1].text["step"].isdigit()


def test_draws_the_way_between_two_sentences(client):
    _, large = pictures(client.predict(RED, "a blue bird", 3, 0, 0.7, api_name="/interpolate"))
    assert len(large) == 3 and large[0].text["caption"] == f"{RED} → a blue bird"


@pytest.mark.parametrize(
    "inputs, sentence",
    [
        (("  ", 2, 0, 0), "Write a sentence first"),
        (("a" * 301, 2, 0, 0), "301 letters|most|max"),
        ((RED, 9, 0, 0), "maximum|number of pictures is 9"),
        ((RED, 1.5, 0, 0), "number of pictures is 1.5; give a whole number from 1 to 8"),
        ((RED, 2, -1, 0), "minimum|seed is -1"),
        ((RED, 2, 0, 1.5), "maximum|truncation is 1.5"),
        (("птица", 2, 0, 0), "can read nothing"),
    ],
)
def test_a_request_that_cannot_be_drawn_is_refused_in_a_sentence(client, inputs, sentence):
    from gradio_client.exceptions import AppError

    with pytest.raises((AppError, ValueError), match=sentence):
        client.predict(*inputs, api_name="/draw")


def test_a_port_in_use_is_refused_before_the_model_is_loaded(runs, server):
    port = server[0].rstrip("/").rsplit(":", 1)[1]
    process = start(runs / "stage2", port)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and f"--port={int(port) + 1}" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0, 0.1])
def test_ctrl_c_twice_closes_the_page(runs, pause):
    process = start(runs / "stage1", free_port())
    assert any("The page is at" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "closed" in said and "Traceback" not in errors


@pytest.mark.slow
def test_twenty_visitors_are_answered_and_memory_stays_flat(server, visitor, capsys):
    _, process = server
    status = Path(f"/proc/{process.pid}/status")
    memory = lambda: int(re.search(r"RssAnon:\s+(\d+)", status.read_text())[1]) / 1024

    clients = queue.SimpleQueue()  # One asks one thing at a time, as a browser does.
    for _ in range(20):
        clients.put(visitor())

    def ask(number: int) -> float:
        client = clients.get()
        began = time.monotonic()
        seed = number % 5  # Several visitors ask for the same pictures at the same time.
        _, large = client.predict(RED, 2, seed, 0, api_name="/draw")
        seconds = time.monotonic() - began
        assert len(large) == 2
        clients.put(client)
        return seconds

    with ThreadPoolExecutor(20) as visitors:
        list(visitors.map(ask, range(100)))
        time.sleep(1.2 * server_module.TIDY_EVERY)
        before, began = memory(), time.monotonic()
        took = list(visitors.map(ask, range(200)))
        seconds = time.monotonic() - began
    time.sleep(1.2 * server_module.TIDY_EVERY)
    growth = memory() - before
    median, most = np.percentile(took, [50, 95])
    with capsys.disabled():
        print(
            f"\n200 requests of 2 pictures by 20 visitors: {400 / seconds:.1f} pictures/s, median "
            f"{median:.2f} s, 95 % within {most:.2f} s; memory {growth:+.0f} MB"
        )
    assert growth < 12

"""What ends the program before it serves a page: one sentence each."""

import sys

import pytest

from stackgan_jax import UserError
from stackgan_jax.web import server


def test_without_gradio_the_sentence_says_how_to_install_it(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"needs Gradio, .*`pip install gradio`"):
        server.serve(runs / "stage1", "127.0.0.1", 7860)


def test_an_address_of_another_machine_is_refused(runs):
    pytest.importorskip("gradio")
    with pytest.raises(UserError, match=r"--host=192\.0\.2\.1 --port=7860 can't be listened at"):
        server.serve(runs / "stage1", "192.0.2.1", 7860)

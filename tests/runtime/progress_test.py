"""Progress: lines in a file or a pipe, a bar on a terminal; the start of workers is not counted."""

import contextlib
import io
import itertools

import pytest

from stackgan_jax.runtime import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@contextlib.contextmanager
def on_a_terminal():
    """Yields what the program writes to stdout and stderr, which are one terminal."""
    stream = Terminal()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield stream


@pytest.fixture
def clock(monkeypatch):
    """Sets the times at which the program reads the clock, in seconds."""

    def set_times(times):
        times = iter(times)
        monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))

    return set_times


def test_a_pipe_gets_a_line_every_five_seconds_and_the_last_one(clock, capsys):
    clock(itertools.count())  # A second passes between two calls.
    show = progress.Progress("birds, train", 1200, "drawn")
    for done in range(100, 1300, 100):
        show(done)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "birds, train: 500 of 1,200 images drawn, 7 s left",
        "birds, train: 1,000 of 1,200 images drawn, 2 s left",
        "birds, train: 1,200 of 1,200 images drawn, 0 s left",
    ]
    assert not captured.out


def test_the_time_before_the_first_call_is_not_counted(clock, capsys):
    clock([0.0, 600.0, 610.0])
    show = progress.Progress("captions", 100, "embedded", unit="captions")
    show(1)
    show(51)
    assert capsys.readouterr().err == "captions: 51 of 100 captions embedded, 10 s left\n"


def test_work_that_is_done_in_one_call_gets_one_line(capsys):
    progress.Progress("birds", 3, "copied")(3)
    assert capsys.readouterr().err == "birds: 3 of 3 images copied, 0 s left\n"


def test_a_terminal_gets_a_bar_that_ends_with_a_full_line():
    with on_a_terminal() as terminal:
        show = progress.Progress("birds, train", 2000, "drawn")
        for done in range(1, 2001):
            show(done)
    *earlier, last = terminal.getvalue().rstrip("\n").split("\r")
    assert terminal.getvalue().endswith("\n")
    assert earlier and "1 of 2,000 images drawn" in terminal.getvalue()
    assert last.startswith("birds, train: ")
    assert "2,000 of 2,000 images drawn" in last and "images/s" in last and "00:00 left" in last


def test_lines_are_printed_above_an_open_bar_with_its_details():
    with on_a_terminal() as terminal:
        bar = progress.Bar("stage1", 500, "done", "steps")
        bar.draw(20, details=["d_loss 0.5", "a preview"])
        progress.print_line("Compiling the training step …")
        bar.clear()
        bar.close()
    written = terminal.getvalue()
    assert "\rCompiling the training step …\n" in written.replace("\x1b[A", "")
    *_, last, losses, preview, _ = (line.split("\r")[-1].rstrip() for line in written.split("\n"))
    assert "20 of 500 steps done" in last and (losses, preview) == ("d_loss 0.5", "a preview")


def test_a_bar_that_was_never_drawn_can_be_cleared_and_closed():
    with on_a_terminal() as terminal:
        bar = progress.Bar("stage1", 500, "done", "steps")
        bar.clear()
        bar.close()
    assert not terminal.getvalue()


def test_a_pipe_gets_plain_lines(capsys):
    progress.print_line("Compiling …")
    assert capsys.readouterr().out == "Compiling …\n"

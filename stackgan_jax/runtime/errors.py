"""The exceptions that end the program with one sentence instead of a traceback."""

import os


class UserError(Exception):
    """A mistake that the user can correct: one sentence with the value, choices and remedy.

    `main` prints the sentence without a traceback and exits with status 1.
    """


def reason(error: BaseException, most: int = 150) -> str:
    """What a library says of a damaged file, as a part of a sentence: printable, on one line.

    Args:
        error: of the library.
        most: characters of the result.
    """
    text = " ".join(f"{error}".split()) or type(error).__name__
    return "".join(each if each.isprintable() else "?" for each in text)[:most]


class Stopped(Exception):
    """Training stopped after Ctrl-C or SIGTERM; it has been saved.

    Args:
        signal_number: the signal that stopped it.
        step: the last step that was done and saved.
        workdir: the folder of the run.
    """

    def __init__(self, signal_number: int, step: int, workdir: str | os.PathLike) -> None:
        super().__init__(
            f"Stopped at step {step:,}, saved in {workdir}. "
            "Run the same command again to continue from there."
        )
        self.exit_status = 128 + signal_number

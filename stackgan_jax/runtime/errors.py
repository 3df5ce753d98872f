"""The one error that is meant for the person at the terminal."""


class UserError(Exception):
    """A mistake the user can mend: one sentence with the value, the choices and the remedy.

    `main` prints it alone, without a traceback, and exits with status 1.
    """


class Stopped(Exception):
    """Ctrl-C or SIGTERM came; everything up to `step` has been saved in `workdir`."""

    def __init__(self, signal_number: int, step: int, workdir):
        super().__init__(
            f"Stopped at step {step:,}, saved in {workdir}. The same command goes on from there."
        )
        self.exit_status = 128 + signal_number

"""The one error that is meant for the person at the terminal."""


class UserError(Exception):
    """A mistake the user can mend: one sentence with the value, the choices and the remedy.

    `main` prints it alone, without a traceback, and exits with status 1.
    """

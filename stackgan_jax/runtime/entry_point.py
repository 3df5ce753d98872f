"""What the command-line programs share: parsing with --config, error sentences, exit statuses."""

import os
import re
import signal
import sys
from collections.abc import Callable

from absl import flags, logging

from stackgan_jax.runtime import buckets, command_line, configuration, disk
from stackgan_jax.runtime.errors import Stopped, UserError

INTERRUPTED = 130  # the shell's exit status after Ctrl-C
PIPE_CLOSED = 141  # and after SIGPIPE


def quiet_tensorflow() -> None:
    """Silences TensorFlow's start-up messages; call this before anything imports it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def parse(arguments: list[str]) -> list[str]:
    """Parses the flags, after replacing the file of --config by the one that is found for it.

    A problem with the command line ends the program with one sentence.

    Args:
        arguments: the program's name, then its options.

    Returns:
        The arguments that are not options: the program's name alone.
    """
    try:
        arguments = with_found_config(arguments)
    except UserError as error:
        raise SystemExit(f"stackgan_jax: {error}") from error
    return command_line.parse(arguments)


def with_found_config(arguments: list[str]) -> list[str]:
    """Returns `arguments` with the path that `configuration.find_config` returns for --config.

    The text after the path's colon, the config's argument, is kept.

    Raises:
        UserError: the file exists neither at its path nor among the packaged configs.
    """
    replaced = list(arguments)
    for index, argument in enumerate(arguments):
        if re.fullmatch("--?config", argument) and index + 1 < len(arguments):
            replaced[index + 1] = _found(arguments[index + 1])
        elif match := re.fullmatch("(--?config=)(.+)", argument):
            replaced[index] = match[1] + _found(match[2])
    return replaced


def _found(config: str) -> str:
    path, colon, argument = config.partition(":")
    return f"{configuration.find_config(path)}{colon}{argument}"


def print_error(error: UserError) -> None:
    """Prints the error's sentence to the terminal, without a traceback."""
    print(f"stackgan_jax: {error}", file=sys.stderr, flush=True)


def run(program: Callable[[], None]) -> None:
    """Runs a program; its errors become a sentence on the terminal and an exit status.

    Log messages below warnings are hidden, unless --verbosity is given.

    Raises:
        SystemExit: with status 1 after a UserError, on a full disk or if gs:// can't be used, 130
            after Ctrl-C, 141 when nobody reads the output any more, and 128 plus the signal's
            number after a signal at which training was saved and stopped.
    """
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax logs every part of every save at INFO.
    disk.silence_libraries()
    try:
        program()
        sys.stdout.flush()
    except UserError as error:
        print_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # More of them must not disturb the end.
        print(
            "\nInterrupted; the same command begins again, and training resumes from its newest "
            "checkpoint if it has one.",
            file=sys.stderr,
        )
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # Who read the output has read enough: info | head.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
    except Stopped as stopped:
        print(stopped, flush=True)
        sys.exit(stopped.exit_status)
    except Exception as error:
        if disk.is_full(error):
            print_error(UserError(disk.sentence(error)))
        elif buckets.is_of_bucket(error):
            print_error(UserError(buckets.sentence(error)))
        else:
            raise
        sys.exit(1)

"""Parsing of command-line flags, with one sentence for each mistake."""

import difflib
import re
from collections.abc import Iterable

from absl import flags

from stackgan_jax.runtime.errors import UserError


def parse(arguments: list[str]) -> list[str]:
    """Parses the flags with absl.

    Args:
        arguments: the program's name, then its options.

    Returns:
        The arguments that are not options: the program's name alone.

    Raises:
        SystemExit: with one sentence, for an unusable option, a missing config, or a config that
            lacks a field.
    """
    try:
        rest = flags.FLAGS(arguments)
    except UserError as error:
        raise SystemExit(f"stackgan_jax: {error}") from error
    except flags.Error as error:
        raise SystemExit(f"stackgan_jax: {_sentence(error)}") from error
    except (AttributeError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
        raise SystemExit(
            f"stackgan_jax: the command line can't be used: {_first_lines(error)}"
        ) from error
    if len(rest) > 1:
        raise SystemExit(f"stackgan_jax: {rest[1]!r} is no option; options begin with --.")
    return rest


def _sentence(error: flags.Error) -> str:
    """What is wrong with an option, with the nearest of those there are."""
    if isinstance(error, flags.UnrecognizedFlagError):
        nearest = _nearest(error.flagname, flags.FLAGS)
        remedy = f"did you mean --{nearest}?" if nearest else "--help shows those there are."
        return f"There is no option --{error.flagname}; {remedy}"
    message = str(error)
    if match := re.search("=(.*): value should be one of <(.*)>", message):
        nearest = _nearest(match[1], match[2].split("|"))
        return f"{message}; did you mean {nearest}?" if nearest else f"{message}."
    return message


def _nearest(given: str, names: Iterable[str]) -> str | None:
    """The name that is most like a given one; None if none is."""
    return next(iter(difflib.get_close_matches(given, names, 1, cutoff=0.7)), None)


def _first_lines(error: Exception) -> str:
    """Returns the first two lines of an error's message, joined by a semicolon."""
    # str() of a KeyError, alone or wrapped, puts its message in quotes.
    message = error.args[0] if error.args else error
    message = message.args[0] if isinstance(message, KeyError) else message
    return "; ".join(str(message).strip().splitlines()[:2])

"""Parsing of command-line flags, with one sentence for each mistake."""

from absl import app

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
        rest = app.parse_flags_with_usage(arguments)
    except UserError as error:
        raise SystemExit(f"stackgan_jax: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
        raise SystemExit(
            f"stackgan_jax: the command line can't be used: {_first_lines(error)}"
        ) from error
    if len(rest) > 1:
        raise SystemExit(f"stackgan_jax: {rest[1]!r} is no option; options begin with --.")
    return rest


def _first_lines(error: Exception) -> str:
    """Returns the first two lines of an error's message, joined by a semicolon."""
    # str() of a KeyError, alone or wrapped, puts its message in quotes.
    message = error.args[0] if error.args else error
    message = message.args[0] if isinstance(message, KeyError) else message
    return "; ".join(str(message).strip().splitlines()[:2])

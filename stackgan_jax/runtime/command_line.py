"""Reading a command line's flags, and saying in one sentence what is wrong with it."""

from absl import app

from stackgan_jax.runtime.errors import UserError


def parse(arguments: list[str]) -> list[str]:
    """absl's flag parsing, with one sentence for a config that is missing or lacks a field."""
    try:
        rest = app.parse_flags_with_usage(arguments)
    except UserError as error:
        raise SystemExit(f"stackgan_jax: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
        # str() of a KeyError, alone or wrapped, quotes its message.
        told = error.args[0] if error.args else error
        told = told.args[0] if isinstance(told, KeyError) else told
        reason = "; ".join(str(told).strip().splitlines()[:2])
        raise SystemExit(f"stackgan_jax: the command line can't be used: {reason}") from error
    if len(rest) > 1:
        raise SystemExit(f"stackgan_jax: {rest[1]!r} is no option; options begin with --.")
    return rest

"""Files that the user fetched from their owners and put into one folder, `config.data.path`: what
all published data sets need to find and read theirs. Nothing is ever fetched here.
"""

from pathlib import Path, PurePosixPath

from stackgan_jax.runtime.errors import UserError


def require(root: Path, name: str, origin: str) -> Path:
    """`root/name`, or UserError: what is missing, where it is looked for, and who offers it."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise UserError(f"{name!r} leads out of {root}, as no file of {origin} does.")
    path = root / inside
    if not path.exists():
        raise UserError(
            f"{name} is missing: it is looked for in {root} (--config.data.path) and comes from "
            f"{origin}."
        )
    return path


def lines(path: Path) -> list[str]:
    """A text file's lines that are not blank, stripped; UTF-8, any damage to it replaced."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def captions(path: Path) -> list[str]:
    """One caption a line; characters that Reed's files lost (U+FFFD) become a blank."""
    found = [" ".join(line.replace("\ufffd", " ").split()) for line in lines(path)]
    if not any(found):
        raise UserError(f"{path} holds no caption; unpack its archive again.")
    return [caption for caption in found if caption]


# Reed's lists of the training classes: the first, or the other two together.
WHOLE, PARTS = "trainvalclasses.txt", ("trainclasses.txt", "valclasses.txt")


def classes(root: Path, folder: str, split: str, origin: str) -> set[str]:
    """The names of a split's classes, from Reed's lists: training and validation make "train".

    Raises UserError where a list is missing or a class is in both splits.
    """
    files = {
        "train": [WHOLE] if (root / folder / WHOLE).exists() else PARTS,
        "test": ["testclasses.txt"],
    }
    found = {
        of: {line for name in names for line in lines(require(root, f"{folder}/{name}", origin))}
        for of, names in files.items()
    }
    if shared := found["train"] & found["test"]:
        raise UserError(
            f"{root / folder} lists the class {min(shared)!r} for training and for testing; "
            f"unpack {origin} again."
        )
    return found[split]

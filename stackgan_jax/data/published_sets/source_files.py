"""The files of the published data sets in the user's folder `config.data.path`: finding, reading.

The user downloads them; this program never does.
"""

from pathlib import Path, PurePosixPath

from stackgan_jax.runtime.errors import UserError


def require(root: Path, name: str, origin: str) -> Path:
    """Returns `root/name`, an existing file or folder.

    Args:
        root: `config.data.path`.
        name: relative path, with "/".
        origin: where to get it, for the error.

    Raises:
        UserError: it is missing (the error names the file, the folder and the origin), or the name
            leads out of `root`.
    """
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise UserError(f"{name!r} leads out of {root}; no file of {origin} does, so get it again.")
    path = root / inside
    if not path.exists():
        raise UserError(
            f"{name} is missing: it was looked for in {root} (--config.data.path); it comes from "
            f"{origin}."
        )
    return path


def lines(path: Path) -> list[str]:
    """The non-blank lines of a UTF-8 text file, stripped; invalid bytes become U+FFFD."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def captions(path: Path) -> list[str]:
    """The captions in a file with one per line; U+FFFD, lost characters in Reed's, is a blank.

    Raises:
        UserError: the file has no caption.
    """
    found = [" ".join(line.replace("\ufffd", " ").split()) for line in lines(path)]
    if not any(found):
        raise UserError(f"{path} has no caption; unpack its archive again.")
    return [caption for caption in found if caption]


# Reed's lists of the training classes: either the first file, or the other two together.
ALL_TRAINING_CLASSES = "trainvalclasses.txt"
TRAINING_AND_VALIDATION_CLASSES = ("trainclasses.txt", "valclasses.txt")


def optional_class_lists(folder: str) -> list[str]:
    """The paths of Reed's lists of training classes in `folder`; not all of them need to exist."""
    names = (ALL_TRAINING_CLASSES, *TRAINING_AND_VALIDATION_CLASSES)
    return [f"{folder}/{name}" for name in names]


def classes(root: Path, folder: str, split: str, origin: str) -> set[str]:
    """The class names of a split, from Reed's lists; his validation classes belong to "train".

    Args:
        root: `config.data.path`.
        folder: the folder of the lists, below `root`.
        split: "train" or "test".
        origin: where to get the lists, for errors.

    Raises:
        UserError: a list is missing, or a class is in both splits.
    """
    whole = (root / folder / ALL_TRAINING_CLASSES).exists()
    files = {
        "train": [ALL_TRAINING_CLASSES] if whole else TRAINING_AND_VALIDATION_CLASSES,
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

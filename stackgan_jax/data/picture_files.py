"""Which files of a folder are pictures: suffixes, folders of other programs, links, odd files.

Everything that lists pictures asks here: data sets made of a folder, shards, evaluation.
"""

import collections
import dataclasses
import functools
import os
import stat
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from stackgan_jax.runtime.errors import UserError

FORMATS = {  # Pillow's name of each format that is read → its suffixes
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
    "JPEG2000": (".jp2", ".j2k"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
KINDS = ", ".join(suffixes[0][1:] for suffixes in FORMATS.values())  # for messages
PLUGINS = {  # formats that not every Pillow reads → what is missing
    "HEIF": "needs the package pillow-heif; install it with pip install pillow-heif",
    "AVIF": "needs a newer Pillow; install it with pip install --upgrade pillow",
}
OTHER_FORMATS = (  # pictures, or what people take for pictures, that are not read
    *(".psd", ".xcf", ".ai", ".eps", ".svg", ".pdf", ".ico", ".tga", ".jxl", ".exr", ".hdr"),
    *(".dds", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
)
# Folders and files of file managers, network storage and archives, in lower case. Names with a dot
# in front (._1.jpg, .ipynb_checkpoints, .Trash) are skipped as well.
SYSTEM_NAMES = {
    *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
    *("$recycle.bin", "recycler", "system volume information", "found.000", "lost+found"),
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"),
}
RUN_FILES = {"config.json", "checkpoints"}  # a folder with both is a run of this program


@functools.cache
def formats() -> tuple[str, ...]:
    """Returns Pillow's names of the formats that are read here; plug-ins are loaded first."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.init()
    known = set(Image.registered_extensions().values())
    return tuple(name for name in FORMATS if name in known and name in Image.OPEN)


def suffixes() -> tuple[str, ...]:
    """Returns the suffixes of all formats, whether they are read here or not."""
    return tuple(suffix for each in FORMATS.values() for suffix in each)


def is_hidden(path: str) -> bool:
    """Returns whether a file, or a folder above it, is hidden or another program's."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return any(part.startswith(".") or part.lower() in SYSTEM_NAMES for part in parts)


def is_picture(name: str) -> bool:
    """Returns whether a file name ends like a picture's that is read here."""
    return unread(name) == ""


def unread(name: str) -> str | None:
    """Returns why a picture of that name isn't read; "" if it is, None if it is no picture."""
    return _reasons().get(os.path.splitext(name)[1].lower())


@functools.cache
def _reasons() -> dict[str, str]:
    """Returns the suffixes of pictures, each with the reason why it isn't read, or ""."""
    reasons = {suffix: f"{suffix} is not read; save it as png or jpg" for suffix in OTHER_FORMATS}
    for kind, suffixes in FORMATS.items():
        missing = "" if kind in formats() else PLUGINS.get(kind, "is not read by this Pillow")
        reasons |= {suffix: missing and f"{suffix} {missing}" for suffix in suffixes}
    return reasons


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder and its sub-folders.

    Attributes:
      files: path below the folder, with slashes → (size in bytes, time of change in ns), sorted by
        path. The size of a broken link is -1.
      left_out: one line for each file or folder that is not read: `a.psd: .psd is not read`.
    """

    files: dict[str, tuple[int, int]]
    left_out: list[str]


def listing(folder: Path, reason: Callable[[str], str | None] = unread) -> Listing:
    """Lists the files of a folder and its sub-folders.

    Hidden files and runs of this program are skipped. Links are followed, and each folder is
    visited once. Nothing is opened.

    Args:
      folder: the folder.
      reason: a name → why such a file isn't read; "" if it is read, None if it is of no interest.

    Raises:
      UserError: a sub-folder can't be read.
    """
    found = Listing({}, [])
    visited = set()
    waiting = collections.deque([""])
    while waiting:
        below = waiting.popleft()
        here = folder / below
        try:
            real = os.path.realpath(here)
            if real not in visited:
                visited.add(real)
                waiting += _list(here, below, reason, found)
        except OSError as error:
            raise unreadable(here, error) from error
    return Listing(dict(sorted(found.files.items())), sorted(found.left_out))


def _list(here: Path, below: str, reason: Callable[[str], str | None], found: Listing) -> list[str]:
    """Adds the files of one folder to `found` and returns its sub-folders."""
    folders = []
    for entry in _entries(here):
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.name.lower() in SYSTEM_NAMES:
            if entry.is_dir():
                found.left_out.append(f"{printable(name)}: a folder of the system")
        elif entry.is_dir():
            folders.append(name)
        elif (why := reason(name)) is not None:
            size, changed, regular = _status(entry)
            why = why or ("" if regular else "not a regular file")
            if why:
                found.left_out.append(f"{printable(name)}: {why}")
            else:
                found.files[name] = size, changed
    return folders


def _entries(folder: Path) -> list[os.DirEntry]:
    """Returns the entries of one folder that are not hidden; none if the folder is a run."""
    with os.scandir(folder) as scanned:
        entries = [entry for entry in scanned if not entry.name.startswith(".")]
    return [] if {entry.name for entry in entries} >= RUN_FILES else entries


def _status(entry: os.DirEntry) -> tuple[int, int, bool]:
    """Returns size, time of change, and whether the file is no pipe, device or socket."""
    try:
        status = entry.stat()
    except OSError:
        return -1, 0, True
    return status.st_size, status.st_mtime_ns, stat.S_ISREG(status.st_mode)


def unreadable(path: str | Path, error: OSError) -> UserError:
    """Returns the error of a file or folder that the system doesn't let the program read."""
    return UserError(
        f"{printable(str(path))} can't be read ({error.strerror}); change its permissions, or "
        "move it out of the folder."
    )


def printable(name: str) -> str:
    """Returns a file name in printable form, on one line, even if it is not UTF-8."""
    return name.encode("utf-8", "replace").decode("utf-8").replace("\n", " ")

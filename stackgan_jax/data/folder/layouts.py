"""Finds the layout of a folder, and reads it into rows: an image, its name and its annotation."""

import dataclasses
import posixpath
import re
from collections.abc import Iterable, Mapping

from stackgan_jax.data import picture_files
from stackgan_jax.data.folder import annotations, metadata, tar_shards, text_files, values
from stackgan_jax.data.folder.annotations import Annotation, Row, annotate
from stackgan_jax.data.folder.folder_files import Files, Folder, is_declared
from stackgan_jax.data.folder.image_names import ImageNames
from stackgan_jax.data.folder.values import SPLITS, Unusable
from stackgan_jax.data.picture_files import is_picture, printable
from stackgan_jax.runtime.errors import UserError


@dataclasses.dataclass
class Layout:
    """A folder as one layout reads it.

    Attributes:
      what: what the captions are, for the user.
      rows: its images.
      captioned: for how many images it has captions.
      left_out: one line for each picture or text that is not used.
      used: the tables, shards and texts that were read.
      stray: why the other texts were not.
      decides: whether it is taken however few captions it has.
      error: why it can't be read after all, or None.
    """

    what: str
    rows: list[Row]
    captioned: int
    left_out: list[str] = dataclasses.field(default_factory=list)
    used: set[str] = dataclasses.field(default_factory=set)
    stray: str = "not used as captions"
    decides: bool = False
    error: UserError | None = None

    @property
    def worth(self) -> int:
        """How many images it captions; least of all if their captions are one and the same."""
        different = {row.annotation.captions for row in self.rows if row.annotation.captions}
        return self.captioned if len(different) > 1 else min(self.captioned, 1)


@dataclasses.dataclass(frozen=True)
class Reading:
    """A folder's images.

    Attributes:
      rows: one for each image.
      left_out: one line for each file that is not used.
      remarks: sentences about the layout for the user.
    """

    rows: list[Row]
    left_out: list[str]
    remarks: list[str]


def read(files: Files) -> Reading:
    """Returns the images of a folder.

    The layouts, in this order, are: tables that name images; .tar shards; a text file for each
    image; sub-folders, whose names are classes and captions. A table called metadata decides.
    Otherwise the first layout is taken that gives captions to half of the pictures, so a stray
    file changes nothing; if none does, the one that gives most.

    Args:
      files: the files of the folder that are not `folder_files.unread`.

    Raises:
      UserError: a table or a shard can't be read.
    """
    folder = Folder(files)
    found: list[Layout] = []
    for layout in (_with_tables, _with_shards, _with_texts, _in_class_folders):
        found += layout(folder)
        if found and (found[-1].decides or 2 * found[-1].captioned >= max(1, len(folder.pictures))):
            break
    chosen = max(found, key=lambda layout: layout.worth)
    if chosen.error:
        raise chosen.error
    others = [each for each in found if each is not chosen and each.captioned]
    return Reading(chosen.rows, *_unused(folder, chosen, others))


def _unused(
    folder: Folder, chosen: Layout, others: Iterable[Layout]
) -> tuple[list[str], list[str]]:
    """Returns the lines of what is left out, and the remarks."""
    used = chosen.used | folder.json_of_pictures
    unused = [name for name in folder.files if not is_picture(name) and name not in used]
    left_out = chosen.left_out + [f"{printable(name)}: {chosen.stray}" for name in unused]
    also = "".join(f"; {o.captioned:,} have them as {o.what}, too few" for o in others)
    count = f"{chosen.captioned:,} of {max(len(folder.pictures), len(chosen.rows)):,}"
    remarks = [f"{count} pictures have captions as {chosen.what}{also}."]
    if unused:
        remarks.append(
            f"Warning: {len(unused):,} files that may contain captions are not used, the first is "
            f"{printable(unused[0])}."
        )
    return left_out, remarks


def _with_tables(folder: Folder) -> list[Layout]:
    rows: dict[str, Row] = {}
    names = ImageNames(folder.files)
    for table in folder.tables:
        before = len(rows)
        for where, image, fields in metadata.read(table, folder.files[table]):
            if isinstance(image, Unusable):
                rows[where] = Row(printable(where), None, problem=str(image))
                continue
            name = names.found(image)
            if name not in rows:
                rows[name] = _found(name, folder)
            annotate(rows[name], lambda fields=fields: annotations.from_fields(fields))
        if len(rows) == before == 0:
            raise UserError(f"{printable(table)} has no rows; write one for each picture.")
    folder_splits = _split_folders(rows)
    for name, row in rows.items():
        if name in folder_splits and not row.annotation.split:
            row.annotation = dataclasses.replace(row.annotation, split=folder_splits[name])
    left_out = [f"{printable(n)}: not in the metadata" for n in folder.pictures if n not in rows]
    what = f"rows of {_listed(folder.tables)}{names.remark()}" if rows else ""
    captioned = sum(bool(row.annotation.captions) for row in rows.values())
    layout = Layout(what, list(rows.values()), captioned, left_out, set(folder.tables))
    layout.decides = any(map(is_declared, folder.tables))
    return [layout] if rows else []


def _found(name: str, folder: Folder) -> Row:
    """Returns the row of an image that a table names, if there is such an image."""
    if name in folder.files:
        return folder.row(name)
    why = picture_files.unread(name)
    return Row(printable(name), None, problem=why or "there is no such file")


def _with_shards(folder: Folder) -> list[Layout]:
    if not folder.shards:
        return []
    layout = Layout(f"texts in {_listed(folder.shards)}", [], 0, used=set(folder.shards))
    for name in folder.shards:
        try:
            layout.rows += tar_shards.read(name, folder.files[name], layout.left_out)
        except UserError as error:
            layout.error = layout.error or error
    layout.captioned = sum(bool(row.annotation.captions) for row in layout.rows)
    layout.left_out += [f"{printable(name)}: not in a shard" for name in folder.pictures]
    return [layout]


def _with_texts(folder: Folder) -> list[Layout]:
    rows = {name: folder.row(name) for name in folder.pictures}
    splits = _split_folders(rows)
    for name, row in rows.items():
        below = posixpath.basename(posixpath.dirname(name))
        # Folders with numbers are img2dataset's shards, not classes.
        kind = "" if below.isdigit() or below.lower() in SPLITS else below
        row.annotation = Annotation(kind=printable(kind), split=splits.get(name, ""))
        if name in folder.texts:
            text_files.annotate_from(folder.files[folder.texts[name]], row)
    used = set(folder.texts.values())
    captioned = sum(
        bool(row.annotation.captions) or folder.texts.get(name, "").lower().endswith(".txt")
        for name, row in rows.items()
    )
    example = next(iter(folder.texts.items()), ("", ""))
    what = f"texts of their own ({printable(example[1])} for {printable(example[0])})"
    layout = Layout(what, list(rows.values()), captioned, [], used, "no picture of that name")
    return [layout] if used else []


def _in_class_folders(folder: Folder) -> list[Layout]:
    rows = {name: folder.row(name) for name in folder.pictures}
    splits = _split_folders(rows)
    for name, row in rows.items():
        below = posixpath.basename(posixpath.dirname(name))
        if below and below.lower() not in SPLITS:
            captions = tuple(filter(None, [class_caption(printable(below))]))
            row.annotation = Annotation(captions, printable(below), split=splits.get(name, ""))
    captions = [row.annotation.captions[0] for row in rows.values() if row.annotation.captions]
    example = f" ({min(captions)!r})" if captions else ""
    what = f"the names of {len(set(captions)):,} sub-folders{example}"
    return [Layout(what, list(rows.values()), len(captions))]


def class_caption(folder: str) -> str:
    """Returns a folder's name as a caption: `001.Black_footed-Bird` → `Black footed Bird`."""
    words = values.clean(re.sub(r"[_\-]+", " ", re.sub(r"^\d+[._\- ]+", "", folder)))
    return words or values.clean(folder)


def _split_folders(names: Mapping[str, Row]) -> dict[str, str]:
    """Returns name → split if the top folders are called train and test (or val, …), else {}."""
    tops = {name: name.split("/", 1)[0].lower() for name in names if "/" in name}
    splits = {name: SPLITS[top] for name, top in tops.items() if top in SPLITS}
    return splits if set(splits.values()) == {"train", "test"} else {}


def _listed(names: Iterable[str]) -> str:
    first, *rest = map(printable, names)
    return f"{first} and {len(rest):,} more" if rest else first

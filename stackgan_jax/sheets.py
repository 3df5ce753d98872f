"""Pages and single files of drawn pictures, with the recipe of each picture inside its PNG."""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stackgan_jax.data import images
from stackgan_jax.pretrained import loading
from stackgan_jax.pretrained.model import Model
from stackgan_jax.pretrained.pictures import provenance
from stackgan_jax.runtime import files, paths, terminal_pictures
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.sample import Sampler, final_images, way
from stackgan_jax.text.encoders.precomputed import PrecomputedEncoder

ROWS = 8  # of a page, where a file of embeddings is given and no caption
FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")  # of a page
PAGE = "samples.png"  # in a folder
MOST_SEEDS = 1000  # of one page
LARGEST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be drawn.

    Attributes:
        captions: sentences; with `embeddings_file` captions of that file, or "#0", "#1" … for its
            rows, and none for its first rows.
        num: pictures for each caption, if no `seeds` are given.
        seed: of the noise of all pictures together.
        seeds: draw one picture for each of them instead, the same alone and among others.
        interpolate: a row for each two neighbouring captions instead: `num` pictures of the same
            noise on the way from one embedding to the other.
        truncation: of the noise, as in `Sampler.noise`.
        embeddings_file: embeddings to use instead of the text encoder.
    """

    captions: Sequence[str]
    num: int = 8
    seed: int = 0
    seeds: Sequence[int] = ()
    interpolate: bool = False
    truncation: float = 0.0
    embeddings_file: str | Path | None = None

    def require_possible(self) -> None:
        """Raises UserError if captions are missing, or options exclude each other."""
        if not self.captions and self.embeddings_file is None:
            raise UserError('Sampling needs a caption: --text="a small red bird".')
        if self.interpolate and len(self.captions) < 2:
            raise UserError("--interpolate needs at least two captions: give --text twice.")
        if self.interpolate and self.seeds:
            raise UserError(
                "--interpolate has one noise for all pictures: give --seed, not --seeds."
            )


@dataclasses.dataclass(frozen=True)
class Row:
    """The pictures of a caption, or of the way from one to the next.

    Attributes:
        title: above the row.
        pictures: `[n, s, s, 3]` uint8.
        names: of the pictures' files, without suffix.
        seeds: of each picture, as in its recipe.
    """

    title: str
    pictures: np.ndarray
    names: Sequence[str]
    seeds: Sequence[str]


def write(
    source: str | Path | None, request: Request, output: str | Path, show: bool = True
) -> None:
    """Draws what is asked for and writes a page of it: a row for each caption.

    Args:
        source: a model, as `stackgan_jax.load` takes it; None for the built-in one.
        request: what to draw.
        output: the file, whose name ends in one of FORMATS. A folder gets PAGE and each picture in
            a file of its own; it is made if the name ends in a slash.
        show: whether the page is shown in the terminal as well, where that can show pictures.

    Raises:
        UserError: the request is not possible, the file can't be written, or there is no model.
    """
    request.require_possible()
    folder = _folder(output)
    page = folder / PAGE if folder else output_file(output)
    model = loading.load(source)
    sampler = model.sampler
    captions, embeddings = _embedded(request, model)
    draw = _ways if request.interpolate else _rows
    rows = list(draw(sampler, request, captions, embeddings))
    if folder:
        _make(folder)
        for row in rows:
            for name, seed, picture in zip(row.names, row.seeds, row.pictures, strict=True):
                save(
                    folder / f"{name}.png",
                    picture,
                    provenance(sampler, row.title, seed, request.truncation),
                )
    pictures, titles = [row.pictures for row in rows], [row.title for row in rows]
    grid = images.captioned_grid(pictures, titles)
    seeds = _seeds_in_words(request)
    save(page, grid, provenance(sampler, "\n".join(titles), seeds, request.truncation))
    if show:
        terminal_pictures.show(grid, pictures, titles)
    each = ", and each picture beside it" if folder else ""
    print(
        f"{len(rows)} × {len(rows[0].pictures)} pictures of step {sampler.step:,} of "
        f"{sampler.directory}: {page}{each}"
    )


def parse_seeds(given: str) -> list[int]:
    """Reads --seeds: numbers and ranges with commas between them, "0-7" or "0,3,5".

    Raises:
        UserError: it is something else, or too many.
    """
    form = f"--seeds={given} can't be used; write numbers from 0 to {LARGEST_SEED:,}"
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", given, re.ASCII):
        raise UserError(f"{form}, with commas or as a range: --seeds=0,3,5 or --seeds=0-7.")
    seeds: list[int] = []
    for part in given.split(","):
        first, _, last = part.partition("-")
        start, end = int(first), int(last or first)
        if end > LARGEST_SEED or end < start:
            raise UserError(f"{form}, the smaller one of a range first: --seeds=0-7.")
        if len(seeds) + end - start >= MOST_SEEDS:
            raise UserError(f"--seeds={given} are more than {MOST_SEEDS:,}; draw them in parts.")
        seeds.extend(range(start, end + 1))
    return seeds


def _embedded(request: Request, model: Model) -> tuple[Sequence[str], np.ndarray]:
    """The captions and their embeddings.

    A picture of a seed must not change with the other captions, and the last bits of embeddings
    do, so that these captions are embedded one by one.
    """
    if request.embeddings_file is not None:
        return _of_file(request.embeddings_file, request.captions, model)
    if request.seeds:
        alone = [model.embed(caption) for caption in request.captions]
        return request.captions, np.concatenate(alone)
    return request.captions, model.embed(request.captions)


def _of_file(
    path: str | Path, captions: Sequence[str], model: Model
) -> tuple[Sequence[str], np.ndarray]:
    """Captions of a file of embeddings, by default the first ROWS, and their embeddings.

    The embeddings are normalised like the run's; a run that was imported without its text encoder
    takes them as they are.
    """
    encoder = PrecomputedEncoder.of_file(path, model.encoder)
    captions = captions or encoder.captions[:ROWS]
    return captions, encoder.embed(captions)


def _rows(
    sampler: Sampler, request: Request, captions: Sequence[str], embeddings: np.ndarray
) -> Iterator[Row]:
    """A row for each caption."""
    num, truncation = len(request.seeds) or request.num, request.truncation
    repeated = np.repeat(embeddings, num, axis=0)
    if request.seeds:
        noise = sampler.noise_of([*request.seeds] * len(captions), truncation)
        drawn = final_images(sampler.draw(repeated, noise, chunk=1))
        seeds = [str(seed) for seed in request.seeds]
    else:
        drawn = final_images(sampler.draw(repeated, seed=request.seed, truncation=truncation))
        seeds = []
    pictures = images.to_uint8(drawn).reshape(len(captions), num, *drawn.shape[1:])
    for i, caption in enumerate(captions):
        of_row = seeds or [
            f"{request.seed}, picture {i * num + n + 1} of {len(repeated)}" for n in range(num)
        ]
        names = [f"seed{seed}" for seed in seeds] or [
            f"seed{request.seed}_picture{n + 1}" for n in range(num)
        ]
        yield Row(caption, pictures[i], [f"caption{i + 1}_{name}" for name in names], of_row)


def _ways(
    sampler: Sampler, request: Request, captions: Sequence[str], embeddings: np.ndarray
) -> Iterator[Row]:
    """A row for each two neighbouring captions."""
    pairs = zip(itertools.pairwise(captions), itertools.pairwise(embeddings), strict=True)
    for i, ((first, last), (a, b)) in enumerate(pairs):
        between = way(sampler, a, b, request.num, request.seed, request.truncation)
        drawn = images.to_uint8(final_images(sampler.draw(*between)))
        steps = range(1, request.num + 1)
        yield Row(
            f"{first} → {last}",
            drawn,
            [f"way{i + 1}_seed{request.seed}_picture{n}" for n in steps],
            [f"{request.seed}, picture {n} of {request.num} on the way" for n in steps],
        )


def _seeds_in_words(request: Request) -> str:
    return ",".join(map(str, request.seeds)) or str(request.seed)


def _folder(output: str | Path) -> Path | None:
    """The folder that --output names, by a slash at its end or because it exists; or None."""
    paths.require_local(output, "--output")
    folder = Path(output).expanduser()
    if not (os.fspath(output).endswith("/") or folder.is_dir()):
        return None
    if folder.is_dir():
        paths.output_file(folder, "--output", PAGE)
    elif folder.exists():
        raise UserError(f"--output={output} is a file, not a folder; leave the slash out.")
    else:
        paths.output_file(folder, "--output", PAGE)  # whether its own folder can be written to
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output={folder}/ can't be made ({error.strerror}); choose another path."
        ) from error


def output_file(output: str | Path) -> Path:
    """The file of --output; raises UserError if it can't be written, before anything is drawn."""
    output = paths.output_file(output, "--output", PAGE)
    if output.suffix.lower() not in FORMATS:
        raise UserError(
            f"--output={output} is no kind of picture that can be written; choose a name that ends "
            f"in {', '.join(FORMATS)}, or a folder with a slash at its end."
        )
    return output


def save(output: Path, page: np.ndarray, recipe: dict[str, str]) -> None:
    """Writes `[h, w, 3]` uint8 in the format of the file's name, whole or not at all.

    Args:
        output: the file.
        page: the picture.
        recipe: is written into a PNG as text (iTXt); other formats have none.

    Raises:
        UserError: the file can't be written, or its format can't hold so large a page.
    """
    kind = Image.registered_extensions()[output.suffix.lower()]
    texts = PngInfo()
    for name, value in recipe.items():
        # A terminal can give broken bytes.
        texts.add_itxt(name, value.encode("utf-8", "replace").decode())
    options = {"pnginfo": texts} if kind == "PNG" else {"quality": 95}
    try:
        with files.replacing(output) as partial, partial.open("wb") as file:
            Image.fromarray(page).save(file, kind, **options)
    except (OSError, ValueError) as error:  # A format may not hold so large a page.
        raise UserError(
            f"--output={output} can't be written ({error}); free space, choose another path, or a "
            "name that ends in .png."
        ) from error

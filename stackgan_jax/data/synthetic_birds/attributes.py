"""The attributes of synthetic birds, their values, and the species that combine them."""

import dataclasses
from collections.abc import Mapping, Sequence, Set

import numpy as np

# RGB, 0..255. The eight colours are far apart, so that they stay distinct under shading and a
# generator's blur.
COLOURS = {
    "red": (212, 30, 34),
    "yellow": (250, 212, 40),
    "green": (48, 146, 60),
    "blue": (34, 92, 206),
    "brown": (136, 82, 42),
    "grey": (124, 129, 137),
    "black": (30, 30, 34),
    "white": (246, 245, 240),
}
BARE_PART_COLOURS = {
    "black": (42, 40, 42),
    "grey": (134, 138, 144),
    "yellow": (246, 202, 46),
    "orange": (238, 122, 26),
    "red": (204, 40, 36),
}
EYE_COLOURS = {"black": (26, 22, 22), "yellow": (250, 206, 40), "red": (204, 30, 24)}

# Fixed for all images of a species.
SPECIES_ATTRIBUTES = {
    "crown": tuple(COLOURS),
    "back": tuple(COLOURS),
    "belly": tuple(COLOURS),
    "wings": tuple(COLOURS),
    "beak": tuple(BARE_PART_COLOURS),
    "beak_shape": ("conical", "long", "hooked", "curved"),
    "pattern": ("plain", "spotted", "streaked", "wing_bars"),
    "tail": ("short", "long", "forked", "fanned"),
    "size": ("small", "medium", "large"),
    "eyes": tuple(EYE_COLOURS),
}
# Drawn at random for every image.
IMAGE_ATTRIBUTES = {
    "pose": ("upright", "level", "forward"),
    "background": ("sky", "branch", "grass", "water", "snow"),
    "direction": ("left", "right"),
}
ATTRIBUTES = {**SPECIES_ATTRIBUTES, **IMAGE_ATTRIBUTES}
# Each covers an area that is large enough to recognise in a 64-pixel picture.
COLOUR_ATTRIBUTES = ("crown", "back", "belly", "wings")
# The direction is never named, because training mirrors pictures.
CAPTION_ATTRIBUTES = tuple(name for name in ATTRIBUTES if name != "direction")

# Beak shape → families of birds, for the names of species.
FAMILIES = {
    "conical": ("finch", "bunting", "sparrow", "grosbeak"),
    "long": ("warbler", "sandpiper", "kingfisher", "snipe"),
    "hooked": ("shrike", "falcon", "parrot", "kestrel"),
    "curved": ("thrasher", "creeper", "curlew", "hoopoe"),
}
# Share of the species whose crown, back and belly have one colour, so that "a red bird" has a
# meaning. It is smaller where the colours do not allow as many combinations.
ONE_COLOUR_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class Species:
    """One kind of bird.

    Attributes:
      index: the class, 0 …
      name: `0001.red_crowned_blue_winged_finch`.
      values: attribute → value, the same in all its images.
    """

    index: int
    name: str
    values: Mapping[str, str]


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Returns a generator of random numbers that is a function of the three arguments alone."""
    return np.random.default_rng([seed, sum(map(ord, purpose)), len(purpose), index])


def _balanced(rng: np.random.Generator, choices: Sequence[str], count: int) -> list[str]:
    """Returns `count` values in random order; frequencies of the choices differ by one at most."""
    repeats = -(-count // len(choices))
    values = np.concatenate([rng.permutation(len(choices)) for _ in range(repeats)])[:count]
    return [choices[value] for value in rng.permutation(values)]


def _one_colour_sets(count: int) -> list[tuple[str, ...]]:
    """Returns `count` tuples (crown, back, belly, wings) whose first three colours are the same.

    The colours are equally frequent.
    """
    found = []
    for index in range(count):
        body, shift = index % len(COLOURS), index // len(COLOURS)
        wings = (body + 3 * shift) % len(COLOURS)
        found.append(tuple(tuple(COLOURS)[colour] for colour in (body, body, body, wings)))
    return found


def _colour_sets(
    rng: np.random.Generator, count: int, taken: Set[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Returns `count` distinct tuples (crown, back, belly, wings) that are not in `taken`.

    The colours are equally frequent in each place.
    """
    columns = [_balanced(rng, tuple(COLOURS), count) for _ in COLOUR_ATTRIBUTES]
    while True:
        rows, seen = list(zip(*columns, strict=True)), set(taken)
        clashes = [row for row, colours in enumerate(rows) if colours in seen or seen.add(colours)]
        if not clashes:
            return rows
        for row in clashes:
            # Exchanging a colour with another row keeps every colour's frequency.
            column, other = columns[rng.integers(len(columns))], rng.integers(count)
            column[row], column[other] = column[other], column[row]


def species(seed: int, train: int, test: int) -> list[Species]:
    """Returns the species of a data set, a function of the arguments alone.

    No two species have the same four colours, so every test species is a combination that training
    has not seen. Every single value occurs in training.

    Args:
      seed: of the random draws.
      train: how many species are for training; they come first.
      test: how many species are for testing.
    """
    rng, found = stream(seed, "species"), []
    alike_train = min(round(ONE_COLOUR_SHARE * train), 40)
    alike_test = min(round(ONE_COLOUR_SHARE * test), 16)
    alike = _one_colour_sets(alike_train + alike_test)
    taken = set(alike)
    for count, same in ((train, alike[:alike_train]), (test, alike[alike_train:])):
        colours = same + _colour_sets(rng, count - len(same), taken)
        taken.update(colours)
        columns = {
            name: _balanced(rng, values, count) for name, values in SPECIES_ATTRIBUTES.items()
        }
        for row in rng.permutation(count):
            values = {name: column[row] for name, column in columns.items()}
            found.append(values | dict(zip(COLOUR_ATTRIBUTES, colours[row], strict=True)))
    return [Species(index, _name(index, values, rng), values) for index, values in enumerate(found)]


def _name(index: int, values: Mapping[str, str], rng: np.random.Generator) -> str:
    family = rng.choice(FAMILIES[values["beak_shape"]])
    return f"{index + 1:04d}.{values['crown']}_crowned_{values['wings']}_winged_{family}"


def individual(
    kind: Species,
    rng: np.random.Generator,
    directions: Sequence[str] = IMAGE_ATTRIBUTES["direction"],
) -> dict[str, str]:
    """Returns all attributes of one bird: those of its species and those drawn for this image.

    Args:
      kind: its species.
      rng: draws the attributes of the image.
      directions: the directions that it may face.
    """
    choices = {**IMAGE_ATTRIBUTES, "direction": directions}
    return {**kind.values, **{name: rng.choice(values).item() for name, values in choices.items()}}

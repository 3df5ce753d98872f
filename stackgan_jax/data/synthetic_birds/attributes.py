"""What a synthetic bird is: its attributes, their values, and the species that combine them."""

import dataclasses

import numpy as np

# Eight colours far apart in RGB, so that they stay distinct under shading and a generator's blur.
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

# Fixed for a species.
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
# Drawn anew for every image.
IMAGE_ATTRIBUTES = {
    "pose": ("upright", "level", "forward"),
    "background": ("sky", "branch", "grass", "water", "snow"),
    "direction": ("left", "right"),
}
ATTRIBUTES = {**SPECIES_ATTRIBUTES, **IMAGE_ATTRIBUTES}
# Each covers an area large enough to be read in a 64-pixel picture.
COLOUR_ATTRIBUTES = ("crown", "back", "belly", "wings")
# Pictures are mirrored in training, so a caption that named the direction would be wrong.
CAPTION_ATTRIBUTES = tuple(name for name in ATTRIBUTES if name != "direction")

FAMILIES = {
    "conical": ("finch", "bunting", "sparrow", "grosbeak"),
    "long": ("warbler", "sandpiper", "kingfisher", "snipe"),
    "hooked": ("shrike", "falcon", "parrot", "kestrel"),
    "curved": ("thrasher", "creeper", "curlew", "hoopoe"),
}
# Share of the species (as far as the colours allow) whose crown, back and belly agree, so that
# "a red bird" has a meaning.
ONE_COLOUR_SHARE = 0.2


def chance(attribute):
    """Share that a blind guess gets right: every value is equally frequent."""
    return 1.0 / len(ATTRIBUTES[attribute])


@dataclasses.dataclass(frozen=True)
class Species:
    """One kind of bird: an index (the class), a name, and the values that all its images share."""

    index: int
    name: str
    values: dict


def stream(seed, purpose, index=0):
    """Generator of random numbers that depends on its three arguments and nothing else."""
    return np.random.default_rng([seed, sum(map(ord, purpose)), len(purpose), index])


def _balanced(rng, choices, count):
    """[count] values, each of `choices` equally often up to one, in random order."""
    repeats = -(-count // len(choices))
    values = np.concatenate([rng.permutation(len(choices)) for _ in range(repeats)])[:count]
    return [choices[value] for value in rng.permutation(values)]


def _one_colour_sets(count):
    """`count` (crown, back, belly, wings) with the first three alike, each colour equally often."""
    found = []
    for index in range(count):
        body, shift = index % len(COLOURS), index // len(COLOURS)
        wings = (body + 3 * shift) % len(COLOURS)
        found.append(tuple(tuple(COLOURS)[colour] for colour in (body, body, body, wings)))
    return found


def _colour_sets(rng, count, taken):
    """`count` tuples of four colours not in `taken`, each colour equally frequent in each place."""
    columns = [_balanced(rng, tuple(COLOURS), count) for _ in COLOUR_ATTRIBUTES]
    while True:
        rows, seen = list(zip(*columns, strict=True)), set(taken)
        clashes = [row for row, colours in enumerate(rows) if colours in seen or seen.add(colours)]
        if not clashes:
            return rows
        for row in clashes:
            # Trading one colour with another row keeps every colour's frequency.
            column, other = columns[rng.integers(len(columns))], rng.integers(count)
            column[row], column[other] = column[other], column[row]


def species(seed, train, test):
    """The species of a data set: `train` of them for training, then `test` for testing.

    No two share their four colours, so every test species is a combination that training has not
    seen; every single value occurs in training. A function of its arguments alone.
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


def _name(index, values, rng):
    family = rng.choice(FAMILIES[values["beak_shape"]])
    return f"{index + 1:04d}.{values['crown']}_crowned_{values['wings']}_winged_{family}"


def individual(kind, rng, directions=IMAGE_ATTRIBUTES["direction"]):
    """All attributes of one bird of a species: the species' and this image's own.

    `directions`: those that it may look in.
    """
    choices = {**IMAGE_ATTRIBUTES, "direction": directions}
    return {**kind.values, **{name: rng.choice(values).item() for name, values in choices.items()}}

"""Which networks a set of published weight files holds, and their variables in our terms."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights import name_tables, network_sizes, weight_files
from stackgan_jax.weights.network_sizes import STAGE1_PREFIX, Arrays, Sizes

_TENSORFLOW_SCOPES = {
    1: {"g_net": "generator", "d_net": "discriminator"},
    2: {
        "g_net": "stage1",
        "d_net": "stage1_discriminator",
        "hr_g_net": "generator",
        "hr_d_net": "discriminator",
    },
}


@dataclasses.dataclass(frozen=True)
class File:
    """One file's weights; `parts`: what stands under which prefix (PyTorch) or scope."""

    path: str
    arrays: Arrays
    parts: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Everything that an import was given.

    Attributes:
      source: "pytorch" or "tensorflow".
      files: of which each part is in one.
      sizes: of each part: "generator", "discriminator", "stage1", "stage1_discriminator".
    """

    source: str
    files: tuple[File, ...]
    sizes: Mapping[str, Sizes]

    @property
    def stage(self) -> int:
        return 2 if "stage1" in self.sizes else 1

    @property
    def text(self) -> int:
        """Width of the sentence embedding."""
        return self.sizes["generator"].text

    @property
    def noise(self) -> int:
        """Width of z."""
        return self.sizes["stage1" if self.stage == 2 else "generator"].noise

    def variables(self, networks: Mapping[str, Any]) -> dict[str, Any]:
        """{"params", "batch_stats"} of each part, for the modules in `networks`.

        Raises UserError with the file and every missing, extra or mis-shaped weight in it.
        """
        read = {"pytorch": name_tables.from_pytorch, "tensorflow": name_tables.from_tensorflow}
        found = {}
        for file in self.files:
            try:
                made = read[self.source](
                    file.arrays, {prefix: networks[part] for prefix, part in file.parts.items()}
                )
            except UserError as error:
                raise UserError(f"{file.path}: {error}") from error
            found |= {file.parts[prefix]: variables for prefix, variables in made.items()}
        return found


def recognise(
    source: str, generator: str, discriminator: str = "", only_stage1: bool = False
) -> Weights:
    """Reads the files and says what they hold.

    Args:
      source: "pytorch" or "tensorflow".
      generator: netG*.pth, or a checkpoint, which may hold the discriminator too.
      discriminator: netD*.pth, or another checkpoint; "" for none.
      only_stage1: take Stage I out of Stage II's files.

    Raises UserError on files of other networks, or such as don't belong together.
    """
    recogniser = {"pytorch": _pytorch, "tensorflow": _tensorflow}[source]
    weights = recogniser(generator, discriminator, only_stage1)
    _refuse_strangers(weights)
    return weights


def _pytorch(generator: str, discriminator: str, only_stage1: bool) -> Weights:
    arrays = weight_files.read_pytorch(generator)
    small = _under(arrays, STAGE1_PREFIX)
    parts = {"": "generator"}
    if only_stage1 and small:
        arrays, small = small, {}
    with _told_of(generator, "generator of StackGAN-Pytorch"):
        if small:
            own = {key: arrays[key] for key in arrays if not key.startswith(STAGE1_PREFIX)}
            # Stage I comes first, as in the published files.
            parts = {STAGE1_PREFIX: "stage1", "": "generator"}
            sizes = {
                "generator": network_sizes.pytorch_generator(own, 2),
                "stage1": network_sizes.pytorch_generator(small, 1),
            }
        else:
            sizes = {"generator": network_sizes.pytorch_generator(arrays, 1)}
    files = [File(generator, arrays, parts)]
    if discriminator:
        arrays = weight_files.read_pytorch(discriminator)
        with _told_of(discriminator, "discriminator of StackGAN-Pytorch"):
            sizes["discriminator"] = network_sizes.pytorch_discriminator(arrays)
        files.append(File(discriminator, arrays, {"": "discriminator"}))
    return Weights("pytorch", tuple(files), sizes)


def _tensorflow(generator: str, discriminator: str, only_stage1: bool) -> Weights:
    arrays = weight_files.read_tensorflow(generator)
    stage = 2 if _under(arrays, "hr_g_net/") and not only_stage1 else 1
    scopes = dict(_TENSORFLOW_SCOPES[stage])
    if only_stage1:
        arrays = {name: arrays[name] for name in arrays if not name.startswith("hr_")}
    files = []
    if discriminator:
        (own,) = (scope for scope, part in scopes.items() if part == "discriminator")
        judging = _scope(weight_files.read_tensorflow(discriminator), own)
        if not judging:
            raise UserError(f"{discriminator} holds no {own}, Stage {'I' * stage}'s discriminator.")
        files.append(File(discriminator, judging, {own: scopes.pop(own)}))
        arrays = {name: arrays[name] for name in arrays if not name.startswith(f"{own}/")}
    held = {scope: part for scope, part in scopes.items() if _scope(arrays, scope)}
    files.append(File(generator, arrays, {"g_net": scopes["g_net"], **held}))
    sizes = {}
    for file in files:
        with _told_of(file.path, "checkpoint of StackGAN"):
            for scope, part in file.parts.items():
                sizer = (
                    network_sizes.tensorflow_generator
                    if scope.endswith("g_net")
                    else network_sizes.tensorflow_discriminator
                )
                sizes[part] = sizer(file.arrays, scope)
    return Weights("tensorflow", tuple(files), sizes)


def _refuse_strangers(weights: Weights) -> None:
    """Raises UserError where the parts can't have been trained together."""
    texts = {part: sizes.text for part, sizes in weights.sizes.items() if sizes.text is not None}
    if len(set(texts.values())) > 1:
        told = ", ".join(f"{part} {width}" for part, width in texts.items())
        raise UserError(f"These networks take sentence embeddings of different widths: {told}.")
    judge = weights.sizes.get("discriminator")
    if judge is None:
        return
    generator = weights.sizes["generator"]
    drawn = 4 * weights.sizes["stage1"].fields["size"] if weights.stage == 2 else None
    drawn = drawn or generator.fields["size"]
    if judge.fields["size"] != drawn:
        raise UserError(
            f"The discriminator judges pictures of {judge.fields['size']} pixels and the generator "
            f"draws {drawn}: they are of different stages; give the two files of one."
        )
    if weights.source == "pytorch" and judge.fields["condition"] != generator.fields["condition"]:
        raise UserError(
            f"The discriminator takes {judge.fields['condition']} numbers of the caption and the "
            f"generator gives {generator.fields['condition']}; give the two files of one training."
        )


def _under(arrays: Arrays, prefix: str) -> dict[str, Any]:
    """The arrays under a prefix, without it."""
    return {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}


def _scope(arrays: Arrays, scope: str) -> dict[str, Any]:
    """The variables of a scope, with it."""
    return {name: array for name, array in arrays.items() if name.startswith(f"{scope}/")}


@contextlib.contextmanager
def _told_of(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UserError(f"{path} is no {what}: {error}.") from error

"""Finds out which networks the published weight files hold, and reads their variables."""

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
class WeightFile:
    """The weights of one file.

    Attributes:
        path: The file.
        arrays: Its content.
        parts: Prefix of the keys (PyTorch) or scope (TensorFlow) → part, as in `Weights.sizes`.
    """

    path: str
    arrays: Arrays
    parts: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Weights:
    """The weights of one published training, in one or several files.

    Attributes:
        source: "pytorch" or "tensorflow".
        files: The files. Each part is in exactly one.
        sizes: Part → its sizes. The parts are "generator", "discriminator", "stage1" and
            "stage1_discriminator".
    """

    source: str
    files: tuple[WeightFile, ...]
    sizes: Mapping[str, Sizes]

    @property
    def stage(self) -> int:
        """1 or 2."""
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
        """Converts the weights to this project's variables.

        Args:
            networks: Part → its network.

        Returns:
            Part → {"params", "batch_stats"}.

        Raises:
            UserError: If a file doesn't fit its networks. The error names the file and every
                missing, unknown or mis-shaped weight.
        """
        read = {"pytorch": name_tables.from_pytorch, "tensorflow": name_tables.from_tensorflow}
        found = {}
        for file in self.files:
            by_prefix = {prefix: networks[part] for prefix, part in file.parts.items()}
            try:
                converted = read[self.source](file.arrays, by_prefix)
            except UserError as error:
                raise UserError(f"{file.path}: {error}") from error
            found |= {file.parts[prefix]: variables for prefix, variables in converted.items()}
        return found


def recognise(
    source: str, generator: str, discriminator: str = "", only_stage1: bool = False
) -> Weights:
    """Reads weight files and finds out which networks they hold.

    Args:
        source: "pytorch" or "tensorflow".
        generator: netG*.pth, or a checkpoint, which may contain the discriminator too.
        discriminator: netD*.pth, or another checkpoint; "" for none.
        only_stage1: Whether to read only Stage I from Stage II's files.

    Raises:
        UserError: If the files hold other networks, or don't belong together.
    """
    recogniser = {"pytorch": _pytorch, "tensorflow": _tensorflow}[source]
    weights = recogniser(generator, discriminator, only_stage1)
    _require_one_training(weights)
    return weights


def _pytorch(generator: str, discriminator: str, only_stage1: bool) -> Weights:
    arrays = weight_files.read_pytorch(generator)
    stage1 = _without_prefix(arrays, STAGE1_PREFIX)
    if only_stage1 and stage1:
        arrays, stage1 = stage1, {}
    parts = {"": "generator"}
    with _naming(generator, "generator of StackGAN-Pytorch"):
        if stage1:
            own = {key: arrays[key] for key in arrays if not key.startswith(STAGE1_PREFIX)}
            # Stage I comes first, as in the published files.
            parts = {STAGE1_PREFIX: "stage1", "": "generator"}
            sizes = {
                "generator": network_sizes.pytorch_generator(own, 2),
                "stage1": network_sizes.pytorch_generator(stage1, 1),
            }
        else:
            sizes = {"generator": network_sizes.pytorch_generator(arrays, 1)}
    files = [WeightFile(generator, arrays, parts)]
    if discriminator:
        arrays = weight_files.read_pytorch(discriminator)
        with _naming(discriminator, "discriminator of StackGAN-Pytorch"):
            sizes["discriminator"] = network_sizes.pytorch_discriminator(arrays)
        files.append(WeightFile(discriminator, arrays, {"": "discriminator"}))
    return Weights("pytorch", tuple(files), sizes)


def _tensorflow(generator: str, discriminator: str, only_stage1: bool) -> Weights:
    arrays = weight_files.read_tensorflow(generator)
    stage = 2 if _in_scope(arrays, "hr_g_net") and not only_stage1 else 1
    scopes = dict(_TENSORFLOW_SCOPES[stage])
    if only_stage1:
        arrays = {name: arrays[name] for name in arrays if not name.startswith("hr_")}
    files = []
    if discriminator:
        (own,) = (scope for scope, part in scopes.items() if part == "discriminator")
        found = _in_scope(weight_files.read_tensorflow(discriminator), own)
        if not found:
            raise UserError(
                f"{discriminator} holds no {own}, the discriminator of Stage {'I' * stage}; give "
                "the checkpoint that does."
            )
        files.append(WeightFile(discriminator, found, {own: scopes.pop(own)}))
        arrays = {name: arrays[name] for name in arrays if not name.startswith(f"{own}/")}
    held = {scope: part for scope, part in scopes.items() if _in_scope(arrays, scope)}
    files.append(WeightFile(generator, arrays, {"g_net": scopes["g_net"], **held}))
    return Weights("tensorflow", tuple(files), _tensorflow_sizes(files))


def _tensorflow_sizes(files: list[WeightFile]) -> dict[str, Sizes]:
    """Returns part → its sizes."""
    sizes = {}
    for file in files:
        with _naming(file.path, "checkpoint of StackGAN"):
            for scope, part in file.parts.items():
                sizer = (
                    network_sizes.tensorflow_generator
                    if scope.endswith("g_net")
                    else network_sizes.tensorflow_discriminator
                )
                sizes[part] = sizer(file.arrays, scope)
    return sizes


def _require_one_training(weights: Weights) -> None:
    """Raises UserError if the parts can't come from the same training."""
    texts = {part: sizes.text for part, sizes in weights.sizes.items() if sizes.text is not None}
    if len(set(texts.values())) > 1:
        widths = ", ".join(f"{part} {width}" for part, width in texts.items())
        raise UserError(
            f"These networks read sentence embeddings of different widths: {widths}; give files of "
            "the same training."
        )
    discriminator = weights.sizes.get("discriminator")
    if discriminator is None:
        return
    generator = weights.sizes["generator"]
    size = 4 * weights.sizes["stage1"].fields["size"] if weights.stage == 2 else None
    size = size or generator.fields["size"]
    if discriminator.fields["size"] != size:
        raise UserError(
            f"The discriminator reads images of {discriminator.fields['size']} pixels and the "
            f"generator draws {size}: they belong to different stages; give two files of the same "
            "stage."
        )
    conditions = discriminator.fields["condition"], generator.fields["condition"]
    if weights.source == "pytorch" and conditions[0] != conditions[1]:
        raise UserError(
            f"The discriminator takes {conditions[0]} numbers of the caption and the generator "
            f"gives {conditions[1]}; give two files of the same training."
        )


def _without_prefix(arrays: Arrays, prefix: str) -> dict[str, Any]:
    """Returns the arrays whose keys begin with a prefix, which is removed."""
    return {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}


def _in_scope(arrays: Arrays, scope: str) -> dict[str, Any]:
    """Returns the variables of a scope under their full names."""
    return {name: array for name, array in arrays.items() if name.startswith(f"{scope}/")}


@contextlib.contextmanager
def _naming(path: str, expected: str) -> Iterator[None]:
    """Turns a ValueError into a UserError that names the file."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{path} is no {expected}: {error}.") from error

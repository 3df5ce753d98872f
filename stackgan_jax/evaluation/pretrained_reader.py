"""A pretrained image network as a reader of pictures: it knows what most things look like.

It sees shapes that the independent scorer, which has only seen the training pictures, does not. But
a discriminator on features of the same pictures can teach a generator to please it (Kynkäänniemi et
al., ICLR 2023), so its scores stand beside the independent ones and say so.
"""

import dataclasses
import typing
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from stackgan_jax.evaluation.readers import Features, Reader, sha256
from stackgan_jax.models import efficientnet
from stackgan_jax.training.game import prior_configs

SIDE = 224  # pixels to which pictures are enlarged or reduced


@dataclasses.dataclass(frozen=True)
class PretrainedReader(Reader):
    """EfficientNet-lite: reads "pooled" features and "class", the most likely of ImageNet's.

    Attributes:
        network: a name of `efficientnet.NETWORKS`.
        teachers: the networks that discriminators of the run read, of the same names.

    Raises:
        UserError: there is no such network, or its package is not installed.
    """

    name: typing.ClassVar[str] = "pretrained"
    network: str
    teachers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        efficientnet.load(self.network)

    @classmethod
    def of_run(cls, network: str, config: ConfigDict, directory: Path) -> "PretrainedReader":
        """Returns the reader for a run.

        Args:
            network: a name of `efficientnet.NETWORKS`.
            config: of the run.
            directory: of the run.

        Raises:
            UserError: as the class.
        """
        stages = (config, *prior_configs(config, directory))
        teachers = {stage.discriminator.get("pretrained", "") for stage in stages}
        return cls(network, tuple(sorted(teachers - {""})))

    @property
    def stamp(self) -> dict[str, str]:
        """The network, with a fingerprint of its weights, and how it is given pictures."""
        return {
            "weights": f"EfficientNet-{self.network}, trained on ImageNet",
            "sha256": sha256(efficientnet.load(self.network)),
            "resize": f"bicubic to {SIDE}×{SIDE}",
            "precision": "float32",
        }

    @property
    def warning(self) -> str:
        """Warns of a discriminator that reads such a network."""
        if self.network in self.teachers:
            return "the generator was trained against the network that gives this score"
        if self.teachers:
            return (
                f"the discriminator reads EfficientNet-{self.teachers[0]}, which has learnt from "
                "the same pictures as the network that gives this score"
            )
        return ""

    def read(self, images: np.ndarray) -> Features:
        """Reads pictures, uint8 `[n, s, s, 3]`."""
        bicubic = Image.Resampling.BICUBIC
        scaled = [Image.fromarray(each).resize((SIDE, SIDE), bicubic) for each in images]
        read = efficientnet.features(
            np.stack([np.asarray(each) for each in scaled]),
            self.network,
            layers=("pooled", "logits"),
            dtype=np.float32,
        )
        return {"pooled": read["pooled"], "class": read["logits"].argmax(axis=1)}

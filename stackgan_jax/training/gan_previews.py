"""What a stage shows between two steps: pictures of test captions, their diversity, and logits."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import augment, batches, images
from stackgan_jax.data.split import Split
from stackgan_jax.models import convolution
from stackgan_jax.runtime import mesh
from stackgan_jax.training.game import title
from stackgan_jax.training.gan import Gan
from stackgan_jax.training.learner import Preview
from stackgan_jax.training.state import Batch

PREVIEW_CAPTIONS = 8
MEASURED = 64  # training pairs at most, whose logits are measured
COMPARED = 4  # captions with one noise, and noises with one caption, whose pictures are compared


def preview_captions(test: Split) -> list[str]:
    """Captions of as many classes as possible.

    They are not all the first of their picture, because that may be only a name.
    """
    _, first = np.unique(test.labels, return_index=True)
    others = np.setdiff1d(np.arange(len(test)), first)
    chosen = [*first, *others][:PREVIEW_CAPTIONS]
    captions = [test.captions[i] for i in chosen]
    return [several[n % len(several)] for n, several in enumerate(captions)]


def measured_pairs(config: ConfigDict, split: Split, encoder: text.Encoder) -> batches.Batch:
    """A small training batch, the same for all processes.

    Args:
        config: of the stage.
        split: of the training images.
        encoder: of its captions.
    """
    groups = config.training.get("batch_norm_groups", 1)
    size = min(config.batch_size, max(groups, MEASURED // groups * groups))
    source = split.image_text(encoder, size, config.captions_per_image, config.seed)
    return source.whole(0)


def previewer(
    config: ConfigDict,
    game: Gan,
    captions: Sequence[str],
    embedding: np.ndarray,
    pairs: batches.Batch,
    devices: jax.sharding.Mesh,
) -> Callable[[Any], Preview]:
    """Returns what draws these captions, always with the same noise.

    Args:
        config: of the stage.
        game: of the stage.
        captions: n of them.
        embedding: `[n, t]` of the captions.
        pairs: a training batch, whose logits are measured; see `measured_pairs`.
        devices: on which the state lies.
    """
    noise = game.cascade.noise(jax.random.key(config.seed), len(captions))
    rows, numbers = _pairs(len(captions))
    drawn_noise = jax.tree.map(lambda x: x[numbers], noise)
    # As an argument: a constant of megabytes would make compilation slow.
    pairs = mesh.place_everywhere(devices, dict(pairs))
    key = jax.random.key(config.seed)
    look = jax.jit(
        lambda state, pairs: (
            game.generate(state, embedding[rows], drawn_noise),
            _logits(game, state, pairs, key),
        ),
        out_shardings=mesh.replicated(devices),
        compiler_options=convolution.compiler_options(),
    )

    def preview(state: Any) -> Preview:
        pictures, logits = look(state, pairs)
        drawn = {name: images.to_uint8(batch) for name, batch in pictures.items()}
        shown = [batch[: len(captions)] for batch in drawn.values()]
        return Preview(
            rows=list(zip(*shown, strict=True)),
            captions=captions,
            headings=[title(name) for name in drawn],
            scalars=_diversity(list(drawn.values())[-1], rows, numbers),
            histograms={f"logits/{name}": np.asarray(each) for name, each in logits.items()},
        )

    return preview


def _pairs(captions: int) -> tuple[np.ndarray, np.ndarray]:
    """Which (caption, noise) is drawn: each caption with its own, then those that are compared.

    The first caption is drawn with several noises, and several captions with the first noise.
    """
    own = np.arange(captions)
    others = own[1:COMPARED]
    first = np.zeros_like(others)
    return np.concatenate([own, first, others]), np.concatenate([own, others, first])


def _diversity(pictures: np.ndarray, rows: np.ndarray, numbers: np.ndarray) -> dict[str, float]:
    """How much pictures differ: root mean square over pixels, 0 to 255, mean over pairs.

    Args:
        pictures: `[m, s, s, 3]` uint8.
        rows: `[m]`, the caption of each.
        numbers: `[m]`, the noise of each.

    Returns:
        noise_spread, of one caption with several noises, and caption_spread, of several captions
        with one noise; none for a single caption.
    """

    def spread(chosen: np.ndarray) -> float:
        pairs = itertools.combinations(pictures[chosen].astype(np.float32), 2)
        return float(np.mean([np.sqrt(np.mean(np.square(a - b))) for a, b in pairs]))

    if rows.max(initial=0) == 0:
        return {}
    return {"noise_spread": spread(rows == 0), "caption_spread": spread(numbers == 0)}


def _logits(
    game: Gan, state: Any, pairs: Mapping[str, jax.Array], key: jax.Array
) -> dict[str, jax.Array]:
    """The discriminator's logits of a batch by kind of pair, `[n]` float32; heads are joined."""
    image = augment.centre(pairs["image"], game.size)
    batch = Batch(image, pairs["embedding"], pairs["partner"])
    logits = game.logits(state, batch, game.cascade.noise(key, len(image)), key)
    return {
        kind: jnp.concatenate([jnp.ravel(head) for head in jax.tree.leaves(heads)]).astype(
            "float32"
        )
        for kind, heads in logits.items()
    }

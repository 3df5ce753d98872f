"""Retrieval scores of a text encoder: how well captions and pictures of unseen classes match.

Reed et al., CVPR 2016, sec. 5.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax import text
from stackgan_jax.data.split import Split
from stackgan_jax.runtime import files, paths
from stackgan_jax.text import scorer

FILE = "retrieval.json"
FIRST = (1, 5, 10)  # the numbers of best matches that recall counts
FETCHED = 50  # images retrieved for each class
MOST = 5000  # images at most, the usual number for COCO
SHUFFLES = 10  # random orders of the pictures that chance is averaged over
_CHUNK = 4096  # captions scored at once


def write(workdir: str | Path, split: Split, features: np.ndarray | None = None) -> dict[str, Any]:
    """Measures a text encoder's run on a split, prints the scores and writes retrieval.json.

    Of more than `MOST` images, evenly spaced ones are measured. One process of many can do this
    alone.

    Args:
        workdir: The run.
        split: The split, usually the test split.
        features: [n, views, d] of its pictures, if a frozen network's are known already.

    Returns:
        The content of retrieval.json: the encoder, the counts, and the scores of `measure`
        ("found") and of `chance` ("chance").

    Raises:
        UserError: If there is no such run, or it has no image tower.
    """
    workdir, pair = paths.folder(workdir), scorer.load(workdir)
    taken = np.arange(0, len(split), (len(split) - 1) // MOST + 1)
    captions, labels = [split.captions[i] for i in taken], split.labels[taken]
    texts = pair.embed_captions([caption for several in captions for caption in several])
    owners = np.repeat(np.arange(len(taken)), [len(several) for several in captions])
    if features is None:
        images = pair.embed_images(split.images[taken])
    else:
        images = pair.embed_features(features[taken])
    found = {
        "encoder": pair.encoder.name,
        "fingerprint": text.load_encoder(workdir).fingerprint,
        "images": len(taken),
        "captions": len(owners),
        "classes": len(np.unique(labels)),
        "found": measure(texts, images, owners, labels),
        "chance": chance(texts, images, owners, labels),
    }
    files.write_text(workdir / FILE, json.dumps(found, indent=2) + "\n")
    print(table(found), flush=True)
    return found


def measure(
    texts: np.ndarray, images: np.ndarray, owners: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Returns every score by name.

    Args:
        texts: [n, t] embeddings of captions. Their inner products with `images` are the scores.
        images: [m, t] embeddings of images.
        owners: [n] the image that each caption describes. Every image has a caption.
        labels: [m] the class of each image.

    Returns:
        caption_to_image_recall_at_1, …_5, …_10: the share of captions whose image is among the
        best 1, 5 or 10. caption_to_image_median_rank, from 1. The same for image_to_caption, where
        an image's rank is the best rank of its captions. class_average_precision_at_50 and
        class_accuracy, from `class_retrieval`.
    """
    scores = {}
    for direction, found in ranks(texts, images, owners).items():
        for k in FIRST:
            scores[f"{direction}_recall_at_{k}"] = float(np.mean(found <= k))
        scores[f"{direction}_median_rank"] = float(np.median(found))
    classes = class_retrieval(texts, labels[owners], images, labels, FETCHED)
    scores[f"class_average_precision_at_{FETCHED}"] = classes["average_precision"]
    return scores | {"class_accuracy": classes["accuracy"]}


def chance(
    texts: np.ndarray, images: np.ndarray, owners: np.ndarray, labels: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """Returns the mean of `measure` over random orders of the pictures' embeddings.

    Measured in this way, chance accounts for classes of different sizes and for captions that
    several pictures share. Arguments as in `measure`, and the seed of the random orders.
    """
    rng = np.random.default_rng(seed)
    shuffled = [measure(texts, rng.permutation(images), owners, labels) for _ in range(SHUFFLES)]
    return {name: float(np.mean([scores[name] for scores in shuffled])) for name in shuffled[0]}


def ranks(texts: np.ndarray, images: np.ndarray, owners: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the rank, from 1, of each query's own match; arguments as in `measure`.

    Returns:
        caption_to_image: [n]. image_to_caption: [m], the rank of the image's best own caption.
    """
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(texts), _CHUNK)]
    own = np.einsum("nt,nt->n", texts, images[owners])
    best = np.full(len(images), -np.inf, own.dtype)
    np.maximum.at(best, owners, own)
    # The same product, summed in another order, differs in the last digits.
    slack = 1e-5 * np.abs(own).max()
    image_ranks, caption_ranks = [], np.ones(len(images), int)
    for chunk in chunks:
        scores = texts[chunk] @ images.T
        image_ranks.append(1 + (scores > own[chunk, None] + slack).sum(axis=1))
        caption_ranks += (scores > best + slack).sum(axis=0)
    return {"caption_to_image": np.concatenate(image_ranks), "image_to_caption": caption_ranks}


def class_retrieval(
    texts: np.ndarray,
    text_labels: np.ndarray,
    images: np.ndarray,
    image_labels: np.ndarray,
    k: int = FETCHED,
) -> dict[str, float]:
    """Retrieval and zero-shot classification by classes (Reed et al., CVPR 2016, sec. 5).

    The query of a class is the mean embedding of its captions.

    Args:
        texts: [n, t] embeddings of captions.
        text_labels: [n] their classes.
        images: [m, t] embeddings of images.
        image_labels: [m] their classes.
        k: How many images are retrieved for each class; all, if there are fewer.

    Returns:
        average_precision: The share of the right class among the k best images ("AP@50").
        accuracy: The share of images whose best class is their own. Both are in [0, 1].
    """
    classes = np.unique(text_labels)
    queries = np.stack([texts[text_labels == label].mean(axis=0) for label in classes])
    scores = queries @ images.T
    fetched = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return {
        "average_precision": float(np.mean(image_labels[fetched] == classes[:, None])),
        "accuracy": float(np.mean(classes[scores.argmax(axis=0)] == image_labels)),
    }


def table(measured: Mapping[str, Any]) -> str:
    """Formats the result of `write` as lines of text."""
    first = (
        f"Retrieval by {measured['encoder']} among {measured['images']:,} test images, "
        f"{measured['captions']:,} captions, {measured['classes']:,} classes (by chance):"
    )
    lines = [
        f"  {name.replace('_', ' '):36} {_shown(name, value):>7} ({_shown(name, by_chance)})"
        for (name, value), by_chance in zip(
            measured["found"].items(), measured["chance"].values(), strict=True
        )
    ]
    return "\n".join([first, *lines])


def _shown(name: str, value: float) -> str:
    return f"{value:.0f}" if name.endswith("rank") else f"{100 * value:.1f} %"

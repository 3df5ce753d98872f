"""How well captions find their pictures and pictures their captions, on unseen classes
(Reed et al., CVPR 2016, sec. 5)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_jax import text
from stackgan_jax.data.input_pipeline import Split
from stackgan_jax.runtime import paths
from stackgan_jax.text import scorer

FILE = "retrieval.json"
FIRST = (1, 5, 10)  # how many of the best count for recall
FETCHED = 50  # images that each class fetches
MOST = 5000  # images, as COCO's retrieval is reported
SHUFFLES = 10  # of the pictures, to measure chance
_CHUNK = 4096  # captions scored at once


def write(workdir: str | Path, split: Split) -> dict[str, Any]:
    """Measures a text encoder's run on a split, prints that and writes retrieval.json into it.

    Of more than MOST images, evenly taken ones are measured. One process of many can do it alone.
    Raises UserError when there is no such run or it has no image tower.
    """
    workdir, pair = paths.folder(workdir), scorer.load(workdir)
    taken = np.arange(0, len(split), (len(split) - 1) // MOST + 1)
    captions, labels = [split.captions[i] for i in taken], split.labels[taken]
    texts = pair.embed_captions([caption for several in captions for caption in several])
    owners = np.repeat(np.arange(len(taken)), [len(several) for several in captions])
    images = pair.embed_images(split.images[taken])
    found = {
        "encoder": pair.encoder.name,
        "fingerprint": text.load_encoder(workdir).fingerprint,
        "images": len(taken),
        "captions": len(owners),
        "classes": len(np.unique(labels)),
        "found": measure(texts, images, owners, labels),
        "chance": chance(texts, images, owners, labels),
    }
    partial = workdir / f".{FILE}.partial"
    partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    partial.replace(workdir / FILE)
    print(table(found), flush=True)
    return found


def measure(
    texts: np.ndarray, images: np.ndarray, owners: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Every score by its name.

    Args:
        texts: [n, t]. images: [m, t]. Scored by their inner products.
        owners: [n], the image that each caption describes; every image has a caption.
        labels: [m], the class of each image.

    Returns:
        caption_to_image_recall_at_1, …_5, …_10: the share of captions whose image is among the
        first; caption_to_image_median_rank, from 1; the same of image_to_caption, an image's rank
        being the best of its captions'; class_average_precision_at_50 and class_accuracy, from
        `class_retrieval`.
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
    """What `measure` gives on average when the pictures' embeddings change places at random.

    So measured, chance knows of classes of different sizes and of captions that several pictures
    share.
    """
    rng = np.random.default_rng(seed)
    shuffled = [measure(texts, rng.permutation(images), owners, labels) for _ in range(SHUFFLES)]
    return {name: float(np.mean([scores[name] for scores in shuffled])) for name in shuffled[0]}


def ranks(texts: np.ndarray, images: np.ndarray, owners: np.ndarray) -> dict[str, np.ndarray]:
    """The place, from 1, at which each query finds its own; arguments as for `measure`.

    Returns:
        caption_to_image [n] and image_to_caption [m], the latter of the best own caption.
    """
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(texts), _CHUNK)]
    own = np.einsum("nt,nt->n", texts, images[owners])
    best = np.full(len(images), -np.inf, own.dtype)
    np.maximum.at(best, owners, own)
    # The same products summed in another order differ in the last places.
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

    A class is asked for by the mean embedding of its captions.

    Args:
        texts: [n, t]; text_labels: [n]. images: [m, t]; image_labels: [m].
        k: how many images each class fetches; all, if there are fewer.

    Returns:
        average_precision: the share of right classes among the k best images ("AP@50"), and
        accuracy: the share of images whose best class is their own, both in [0, 1].
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
    """What `write` found, as lines for people."""
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

"""Opens everything that the evaluation of a run needs: data, readers, captions."""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import input_pipeline, preparation
from stackgan_jax.data.split import Split
from stackgan_jax.evaluation import inception_weights, spread_scores
from stackgan_jax.evaluation.detail import DetailReader
from stackgan_jax.evaluation.evidence import Captions
from stackgan_jax.evaluation.independent_scorer import IndependentReader, trained
from stackgan_jax.evaluation.pretrained_reader import PretrainedReader
from stackgan_jax.evaluation.protocols import Protocol
from stackgan_jax.evaluation.readers import AttributeReader, InceptionReader, JointReader, Reader
from stackgan_jax.evaluation.runs import Evaluation
from stackgan_jax.models.image_tower import ImageTower
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.text.scorer import Scorer


def prepare(
    config: ConfigDict, directory: Path, protocol: Protocol, train: bool = True
) -> Evaluation:
    """Opens everything that the evaluation of a run needs.

    Args:
        config: of the run.
        directory: of the run.
        protocol: how to evaluate.
        train: whether to train the independent scorer where there is none yet.

    Raises:
        UserError: for a missing encoder or the weights of another Inception.
    """
    size = config.discriminator.size
    load = functools.partial(input_pipeline.load, config.data)
    test = input_pipeline.load_for(config, "test", size)
    readers, left_out = _find_readers(directory, protocol)
    if protocol.independent:
        try:
            encoder, flip = text.load_encoder(directory).name, config.training.flip
            readers.append(IndependentReader(trained(load, encoder, size, flip, train)))
        except UserError as error:
            left_out["independent_kid"] = error
    if protocol.pretrained:
        try:
            readers.append(PretrainedReader.of_run(protocol.pretrained, config, directory))
        except UserError as error:
            left_out["pretrained_kid"] = error
    if protocol.attributes and test.attributes:
        # Imported here: only synthetic birds have attributes.
        from stackgan_jax.evaluation import attributes

        readers.append(AttributeReader(attributes.load()))
    scorers = {reader.name: reader.scorer for reader in readers if isinstance(reader, JointReader)}
    captions, embeddings = _choose_captions(test, directory, protocol, scorers)
    spread_readers: list[Reader] = [spread_scores.ThumbnailReader()]
    joint = next((reader for reader in readers if reader.name == "joint"), None)
    if joint is not None and isinstance(joint.scorer.image, ImageTower):
        spread_readers.append(spread_scores.LayerReader(joint))
    return Evaluation(
        protocol=protocol,
        directory=directory,
        data=_described(config, test),
        test=test,
        size=size,
        readers=readers,
        captions=captions,
        embeddings=embeddings,
        left_out=left_out,
        repeated=spread_scores.choose(
            test, captions, protocol.sentences, protocol.repeats, protocol.seed
        ),
        spread_readers=spread_readers,
    )


def _find_readers(directory: Path, protocol: Protocol) -> tuple[list[Reader], dict[str, UserError]]:
    """The readers that need no data, and for each missing one a metric and the reason."""
    readers: list[Reader] = []
    left_out = {}
    if protocol.inception:
        readers.append(InceptionReader.of(protocol))
    else:
        left_out["fid"] = UserError(f"{inception_weights.HOW_TO_GET}.")
    try:
        readers.append(JointReader.of_run(directory))
    except UserError as error:
        left_out["r_precision"] = error
    readers.append(DetailReader())
    return readers, left_out


def _described(config: ConfigDict, test: Split) -> str:
    """The data with their fingerprint, and how the pictures are cropped."""
    known = preparation.facts(test.directory)
    cut = f"crop {config.data.crop}, middle of {test.images.shape[1]}"
    return f"{known['source']} ({known['fingerprint'][:16]}), {cut}"


def _choose_captions(
    test: Split, directory: Path, protocol: Protocol, scorers: Mapping[str, Scorer]
) -> tuple[Captions, np.ndarray]:
    """Chooses one caption for each picture; the test images take turns in a random order."""
    rng = np.random.default_rng((protocol.seed, 3))
    chosen = np.resize(rng.permutation(len(test)), protocol.images)
    places = np.array([rng.integers(len(test.captions[image])) for image in chosen])
    sentences = [test.captions[image][place] for image, place in zip(chosen, places, strict=True)]
    known = test.embed_captions(text.load_encoder(directory))
    embeddings = np.asarray(known.flat[known.offsets[chosen] + places], np.float32)
    unique, back = np.unique(sentences, return_inverse=True)
    unique = [str(sentence) for sentence in unique]
    matching = {name: scorer.embed_captions(unique)[back] for name, scorer in scorers.items()}
    return Captions(sentences, chosen, test.labels[chosen], matching), embeddings

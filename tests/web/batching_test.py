"""Requests of several visitors are drawn together, and each gets its own pictures."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

import stackgan_jax
from stackgan_jax import UserError
from stackgan_jax.data import images
from stackgan_jax.web.batching import Batcher


@pytest.fixture(scope="module")
def model(runs):
    return stackgan_jax.load(runs / "stage1")


class Counting:
    """A sampler that counts its calls, and waits before the first one until it may go."""

    def __init__(self, sampler):
        self.sampler, self.sizes, self.go = sampler, [], threading.Event()

    def draw(self, embeddings, noise, chunk):
        self.go.wait(60)
        self.sizes.append(len(embeddings))
        return self.sampler.draw(embeddings, noise, chunk=chunk)


def test_each_visitor_gets_the_pictures_of_their_own_seeds_by_few_calls(model):
    counting = Counting(model.sampler)
    batcher = Batcher(counting, chunk=4, most=8)
    wishes = [(f"a bird with {n} wings", [n, n + 1]) for n in range(10)]

    def drawn(wish):
        sentence, seeds = wish
        embeddings = np.repeat(model.embed(sentence), len(seeds), axis=0)
        return batcher.draw(embeddings, model.sampler.noise_of(seeds))["stage1"]

    with ThreadPoolExecutor(len(wishes)) as visitors:
        waiting = [visitors.submit(drawn, wish) for wish in wishes]
        counting.go.set()
        answers = [each.result(60) for each in waiting]
    for (sentence, seeds), answer in zip(wishes, answers, strict=True):
        alone = np.stack([np.asarray(p) for p in model.draw(sentence, seeds=seeds)])
        assert np.abs(images.to_uint8(answer).astype(int) - alone).max() <= 1
    assert len(counting.sizes) < len(wishes)
    assert max(counting.sizes) <= 8 and not any(size % 4 for size in counting.sizes)


def test_an_error_reaches_those_who_asked_and_the_next_are_drawn(model):
    batcher = Batcher(model.sampler, chunk=4)
    embeddings, noise = model.embed("a red bird"), model.sampler.noise_of([0])
    with pytest.raises(UserError, match="not finite"):
        batcher.draw(np.full_like(embeddings, np.nan), noise)
    with pytest.raises(UserError, match="embedding has shape"):
        batcher.draw(embeddings[:, 1:], noise)
    assert batcher.draw(embeddings, noise)["stage1"].shape[0] == 1
    assert jax.tree.leaves(noise)[0].shape[0] == 1

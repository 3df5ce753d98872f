"""Hints: each sign is told with what to try, once, and a healthy log has none."""

import numpy as np
import pytest

from stackgan_jax.runtime import config_ranges, configuration
from stackgan_jax.training import hints

STEPS = range(0, 3000, 50)


@pytest.fixture
def config():
    return configuration.load("quickstart.py").stage1


def healthy(step):
    """A line as a good run has it: both losses move around their balance."""
    wave = np.sin(step / 170)
    return {
        "d_loss_real": 0.5 + 0.2 * wave,
        "d_loss_wrong": 0.6,
        "d_loss_fake": 0.4 - 0.2 * wave,
        "g_loss": 2.0 + wave,
        "kl": 0.8,
    }


def told(config, tmp_path, line, look=lambda step: {}, steps=STEPS):
    watch = hints.Watch(config, tmp_path, start=0, options="--config.stage1.")
    found = []
    for step in steps:
        found += watch.log(step, line(step))
        found += watch.look(step, look(step)) if step % 200 == 0 else []
    return found


def looks(noise, caption):
    return lambda step: {"noise_spread": noise, "caption_spread": caption}


def test_a_healthy_log_has_no_hint(config, tmp_path):
    assert not told(config, tmp_path, healthy, looks(55.0, 60.0))
    assert not hints.read(tmp_path)


BAD = {
    "discriminator too strong": lambda step: {
        **healthy(step),
        "d_loss_real": 0.02,
        "d_loss_fake": 0.01,
        "g_loss": 4 + step / 500,
    },
    "KL vanishes": lambda step: {**healthy(step), "kl": 1e-5},
    "KL explodes": lambda step: {**healthy(step), "kl": 6 + step / 100},
}


@pytest.mark.parametrize("sign", BAD)
def test_a_sign_is_told_once_with_an_option_to_try(sign, config, tmp_path):
    (hint,) = told(config, tmp_path, BAD[sign])
    (kept,) = hints.read(tmp_path)
    assert kept["sign"] == sign and kept["sentence"] == hint
    assert_options_can_be_given(hint)


@pytest.mark.parametrize(
    ("noise", "caption", "words"), [(2.0, 50.0, "ignores its noise"), (1.0, 2.0, "all pictures")]
)
def test_pictures_that_are_alike_are_told(noise, caption, words, config, tmp_path):
    (hint,) = told(config, tmp_path, healthy, looks(noise, caption))
    assert words in hint
    assert_options_can_be_given(hint)


def assert_options_can_be_given(hint):
    """The options in a hint are fields of the quickstart, with values in their ranges."""
    quickstart = configuration.load("quickstart.py")
    given = [word.rstrip(".,") for word in hint.split() if word.startswith("--config.")]
    assert given
    for option in given:
        name, value = option.removeprefix("--config.").split("=")
        known = configuration.flat(quickstart)[name]
        quickstart.update_from_flattened_dict({name: type(known)(value)})
    config_ranges.require(quickstart)


def test_pictures_may_be_alike_at_the_beginning(config, tmp_path):
    assert not told(config, tmp_path, healthy, looks(0.1, 0.1), steps=range(0, 300, 10))


def test_a_sign_that_comes_back_after_long_is_told_again(config, tmp_path):
    def line(step):
        return BAD["KL vanishes"](step) if step < 1000 or step > 4000 else healthy(step)

    found = told(config, tmp_path, line, steps=range(0, 6000, 50))
    assert [hint.split(" (")[0] for hint in found] == ["The KL divergence has vanished"] * 2


def test_a_resumed_run_does_not_repeat_its_hints(config, tmp_path):
    told(config, tmp_path, BAD["KL vanishes"])
    watch = hints.Watch(config, tmp_path, start=3000)
    repeated = [hint for step in STEPS for hint in watch.log(step, BAD["KL vanishes"](step))]
    assert not repeated and len(hints.read(tmp_path)) == 1


def test_a_text_encoder_has_no_signs(tmp_path):
    config = configuration.load("text_encoder.py")
    watch = hints.Watch(config, tmp_path, start=0)
    assert not [hint for step in STEPS for hint in watch.log(step, {"loss": 0.0})]

"""Everything from nothing: text encoder, Stage I, Stage II and a page of pictures.

    python -m stackgan_jax.main --config=configs/quickstart.py

Trains on the embedded synthetic birds, to 64 and 256 pixels as published. To finish on a laptop the
networks are narrow, the learning rates high, the conditioning augmentation's KL term light, and two
terms help that aren't in the paper: the distance of picture and caption by the text encoder's image
tower (`matching_weight`), and in Stage II the distance from Stage I's picture
(`consistency_weight`). A stage's values are changed as --config.stage1.steps=20000.

Result: in the README, with command, hardware and date.
"""

from pathlib import Path

from ml_collections import ConfigDict

from stackgan_jax import configuration


def get_config() -> ConfigDict:
    siblings = Path(__file__).parent
    text_encoder, stage1, stage2 = (
        configuration.load(siblings / f"{name}.py") for name in ("text_encoder", "stage1", "stage2")
    )
    for stage in (text_encoder, stage1, stage2):
        stage.data.builder_config = "quickstart"  # every bird looks to the right
    text_encoder.joint.flip = stage1.training.flip = stage2.training.flip = False
    text_encoder.update(load_size=38, steps=4500, log_every=200, save_every=1000)

    for stage in (stage1, stage2):
        stage.training.update(
            z_features=32,
            kl_weight=0.1,
            epsilon_scale=0.3,
            generator_learning_rate=1e-3,
        )
        stage.captions_per_image = 1
    stage1.generator.features = stage1.discriminator.features = 24
    stage1.training.update(
        discriminator_learning_rate=6e-4, matching_weight=30.0, halve_every=1_200, ema_decay=0.998
    )
    stage1.update(batch_size=16, steps=2400, log_every=100, preview_every=500, save_every=1000)

    stage2.generator.update(features=16, residual_blocks=2)
    stage2.discriminator.features = 8
    stage2.training.update(
        discriminator_learning_rate=8e-4,
        matching_weight=30.0,
        consistency_weight=60.0,
        halve_every=500,
        ema_decay=0.99,
    )
    stage2.update(batch_size=8, steps=1400, log_every=50, preview_every=200, save_every=350)
    return ConfigDict(
        {"name": "quickstart", "text_encoder": text_encoder, "stage1": stage1, "stage2": stage2}
    )

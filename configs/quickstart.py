"""Everything from nothing: text encoder, Stage I, Stage II and a page of pictures.

    python -m stackgan_jax.main --config=configs/quickstart.py

Trains on the embedded synthetic birds. To finish on a laptop the pictures are half as large as
elsewhere (32 pixels from Stage I, 128 from Stage II), the networks narrow, the learning rates high
and the conditioning augmentation's KL term light. A stage's values are changed as
--config.stage1.steps=20000.

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
    text_encoder.update(load_size=38, steps=3000, log_every=200, save_every=1000)

    stage1.generator.update(size=32, features=48)
    stage1.discriminator.update(size=32, features=48)
    stage1.training.update(
        z_features=32,
        kl_weight=0.1,
        epsilon_scale=0.3,
        generator_learning_rate=1e-3,
        discriminator_learning_rate=6e-4,
        ema_decay=0.99,
    )
    stage1.update(captions_per_image=1, batch_size=32, steps=3500)
    stage1.update(log_every=100, preview_every=500, save_every=1000)

    stage2.generator.update(features=16, residual_blocks=2)
    stage2.discriminator.update(size=128, features=16)
    stage2.training.update(
        z_features=32,
        kl_weight=0.1,
        epsilon_scale=0.3,
        generator_learning_rate=1e-3,
        discriminator_learning_rate=8e-4,
        ema_decay=0.99,
    )
    stage2.update(captions_per_image=1, batch_size=16, steps=1500)
    stage2.update(log_every=50, preview_every=300, save_every=300)
    return ConfigDict(
        {"name": "quickstart", "text_encoder": text_encoder, "stage1": stage1, "stage2": stage2}
    )

"""Everything from nothing: text encoder, Stage I, Stage II and a page of pictures.

    python -m stackgan_jax.main --config=configs/quickstart.py

Trains on the embedded synthetic birds with narrow networks and a raised learning rate, chosen to
finish on a laptop. A stage's values are changed as --config.stage1.steps=2000.

Result: not yet run.
"""

from pathlib import Path

from ml_collections import ConfigDict

from stackgan_jax import configuration


def get_config() -> ConfigDict:
    siblings = Path(__file__).parent
    text_encoder, stage1, stage2 = (
        configuration.load(siblings / f"{name}.py") for name in ("text_encoder", "stage1", "stage2")
    )
    text_encoder.update(steps=600, log_every=50, save_every=600)

    stage1.generator.update(features=32)
    stage1.discriminator.update(features=32)
    stage1.training.update(
        generator_learning_rate=5e-4,
        discriminator_learning_rate=5e-4,
        ema_decay=0.99,
    )
    stage1.update(batch_size=64, steps=600, log_every=20, preview_every=100, save_every=200)

    stage2.generator.update(features=16, residual_blocks=2)
    stage2.discriminator.update(features=16)
    stage2.training.update(
        generator_learning_rate=5e-4,
        discriminator_learning_rate=5e-4,
        ema_decay=0.98,
    )
    stage2.update(batch_size=16, steps=250, log_every=10, preview_every=50, save_every=100)
    return ConfigDict(
        {"name": "quickstart", "text_encoder": text_encoder, "stage1": stage1, "stage2": stage2}
    )

"""Stage II: Stage I's 64x64 picture and the caption become a picture of 256x256.

    python -m stackgan_jax.main --config=configs/stage2.py          synthetic birds, narrow networks
    python -m stackgan_jax.main --config=configs/stage2.py:folder --config.data.path=my_pictures
    python -m stackgan_jax.main --config=configs/stage2.py:birds --config.data.path=…  as published

It goes on from the Stage I in `config.stage1`, which must have been trained. `folder` is for some
thousand pictures of your own. `birds` (CUB-200-2011) and `flowers` (Oxford-102) are the settings of
the published TensorFlow program, `coco` those of the published PyTorch program. `stackgan_pickles`
is the former on what its own preprocessing wrote, with the birds' schedule (flowers:
--config.steps=65400 --config.training.halve_every=10900). Each needs --config.data.path: README.md.

Result: not yet run to one. The first form makes 0.9 steps a second on four cores of an AMD EPYC,
0.5 on two (2026-11-22). After 200 of its 20,000 steps, four minutes, on the quickstart's Stage I:
blurred birds in most of Stage I's colours.
"""

from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration

# Images of the TensorFlow program's data sets; its pickles are taken for those of the birds.
EPOCHS = {"birds": 8_855, "flowers": 7_034, "stackgan_pickles": 8_855}


def get_config(dataset: str = "synthetic_birds") -> ConfigDict:
    suffix = "" if dataset == "synthetic_birds" else f"-{dataset}"
    config = ConfigDict(
        {
            "kind": "stage2",
            "name": f"stage2{suffix}",
            "dataset": dataset,
            "seed": 0,
            "data": configuration.data_set(dataset),
            # Both are copied into the run, which then stands alone.
            "text_encoder": f"runs/text_encoder{suffix}",
            "stage1": f"runs/stage1{suffix}",
            "captions_per_image": 4,  # whose embeddings are averaged
            "generator": {
                "features": 32,
                "condition": 128,
                "residual_blocks": 4,
                "condition_slope": 0.2,
                "log_variance": False,
                "unbiased_variance": False,
                "truncated_init": True,
                "dtype": "float32",
            },
            "discriminator": {
                "size": 256,
                "features": 16,
                "condition": 128,
                "residual": True,
                "reduce_kernel": 1,
                "project": True,
                "joint_kernel": 1,
                "logit_bias": False,
                "unconditional_head": False,
                "unbiased_variance": False,
                "truncated_init": True,
                "dtype": "float32",
            },
            "training": {
                "z_features": 100,
                "kl_weight": 2.0,
                "mismatch": "other_class_image",
                "truncated_epsilon": True,
                "epsilon_scale": 1.0,
                "generator_learning_rate": 2e-4,
                "discriminator_learning_rate": 2e-4,
                "halve_every": 5_000,
                "ema_decay": 0.999,
                "flip": True,  # mirror the real images at random
                "rematerialise": False,  # less memory, more time
                "batch_norm_groups": 1,  # parts of the batch, each with statistics of its own
                "matching_weight": 0.0,  # of the joint embedding's distance; not in the paper
                "consistency_weight": 0.0,  # of the distance from Stage I's; not in the paper
            },
            "batch_size": 32,
            "steps": 20_000,
            "steps_per_dispatch": 0,  # 0: as is best for the device
            "shard_state": False,  # True: parameters and optimiser split over the devices
            "log_every": 20,
            "preview_every": 100,
            "save_every": 500,
            "keep": {"newest": 2, "every": 0, "best": "", "best_mode": "min"},
            "eval": configuration.evaluation(),
        }
    )
    if dataset == "folder":
        own_pictures(config)
    if dataset in EPOCHS:
        tensorflow_settings(config, epoch=EPOCHS[dataset] // 64)
    if dataset == "stackgan_pickles":
        config.data.builder_config = "304"
    if dataset == "coco":
        pytorch_settings(config, epoch=82_783 // 40)
    return config


def own_pictures(config: ConfigDict) -> None:
    """Widths and schedule for some thousand pictures: 30,000 steps are 300 epochs of 3,200."""
    config.generator.features = 48
    config.discriminator.features = 32
    config.training.update(kl_weight=1.0, halve_every=10_000)
    config.update(steps=30_000, preview_every=500, save_every=500)


def tensorflow_settings(config: ConfigDict, epoch: int) -> None:
    """Widths and schedule of the published bird and flower program."""
    config.generator.features = 128
    config.discriminator.features = 64
    config.training.halve_every = 100 * epoch
    config.batch_size = 64
    config.steps = 600 * epoch
    config.preview_every = config.save_every = 10 * epoch


def pytorch_settings(config: ConfigDict, epoch: int) -> None:
    """Networks and schedule of the published COCO program."""
    config.captions_per_image = 1
    config.generator.update(
        features=192,
        residual_blocks=2,
        condition_slope=0.0,
        log_variance=True,
        unbiased_variance=True,
        truncated_init=False,
    )
    config.discriminator.update(
        features=96,
        residual=False,
        reduce_kernel=3,
        project=False,
        joint_kernel=3,
        logit_bias=True,
        unconditional_head=True,
        unbiased_variance=True,
        truncated_init=False,
    )
    config.training.update(mismatch="shifted_text", truncated_epsilon=False, halve_every=20 * epoch)
    config.batch_size = 40
    config.steps = 100 * epoch
    config.preview_every = config.save_every = epoch

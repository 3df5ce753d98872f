"""Stage I: a caption becomes a picture of 64x64.

    python -m stackgan_jax.main --config=configs/stage1.py          synthetic birds, narrow networks
    python -m stackgan_jax.main --config=configs/stage1.py:folder --config.data.path=my_pictures
    python -m stackgan_jax.main --config=configs/stage1.py:birds --config.data.path=…  as published

`folder` is for some thousand pictures of your own: wider networks than for the synthetic birds,
narrower than the published ones, and a lighter KL term, which lets short training follow captions.
`birds` (CUB-200-2011) and `flowers` (Oxford-102) are the settings of the published TensorFlow
program, `coco` those of the published PyTorch program. `stackgan_pickles` is the former on what its
own preprocessing wrote, with the birds' schedule (flowers: --config.steps=65400
--config.training.halve_every=5450). Each of them needs --config.data.path: README.md says of what.

Result: of the first form 1,150 of the 20,000 steps, seven minutes on four cores of an AMD EPYC with
the drawing of the data and the text encoder before them (2026-11-22): birds' shapes, and a part of
their captions' colours. The others: not yet run.
"""

from ml_collections import ConfigDict

from stackgan_jax.runtime import configuration

# Images of the TensorFlow program's data sets; its pickles are taken for those of the birds.
EPOCHS = {"birds": 8_855, "flowers": 7_034, "stackgan_pickles": 8_855}


def get_config(dataset: str = "synthetic_birds") -> ConfigDict:
    config = ConfigDict(
        {
            "kind": "stage1",
            "name": "stage1" if dataset == "synthetic_birds" else f"stage1-{dataset}",
            "dataset": dataset,
            "seed": 0,
            "data": configuration.data_set(dataset),
            # Where the text encoder is; it is copied into the run, which then stands alone.
            "text_encoder": (
                "runs/text_encoder"
                if dataset == "synthetic_birds"
                else f"runs/text_encoder-{dataset}"
            ),
            "captions_per_image": 4,  # whose embeddings are averaged
            "generator": {
                "size": 64,
                "features": 48,
                "condition": 128,
                "residual": True,
                "noise_first": False,
                "dense_bias": True,
                "image_upsamples": True,
                "condition_slope": 0.2,
                "log_variance": False,
                "unbiased_variance": False,
                "truncated_init": True,
                "dtype": "float32",
            },
            "discriminator": {
                "size": 64,
                "features": 32,
                "condition": 128,
                "residual": True,
                "linear_before_last": True,
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
            },
            "batch_size": 64,
            "steps": 20_000,
            "steps_per_dispatch": 0,  # 0: as is best for the device
            "shard_state": False,  # True: parameters and optimiser split over the devices
            "log_every": 50,
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
    if dataset == "coco":
        pytorch_settings(config, epoch=82_783 // 128)
    return config


def own_pictures(config: ConfigDict) -> None:
    """Widths and schedule for some thousand pictures: 30,000 steps are 600 epochs of 3,200."""
    config.generator.features = 64
    config.discriminator.features = 48
    config.training.update(kl_weight=1.0, halve_every=10_000)
    config.update(steps=30_000, preview_every=500, save_every=500)


def tensorflow_settings(config: ConfigDict, epoch: int) -> None:
    """Widths and schedule of the published bird and flower program."""
    config.generator.features = 128
    config.discriminator.features = 64
    config.training.halve_every = 50 * epoch
    config.steps = 600 * epoch
    # For steps of milliseconds: what a log line and a save cost is in docs/performance.md.
    config.log_every = 100
    config.preview_every = config.save_every = 30 * epoch


def pytorch_settings(config: ConfigDict, epoch: int) -> None:
    """Networks and schedule of the published COCO program."""
    config.captions_per_image = 1
    config.generator.update(
        features=192,
        residual=False,
        noise_first=True,
        dense_bias=False,
        image_upsamples=False,
        condition_slope=0.0,
        log_variance=True,
        unbiased_variance=True,
        truncated_init=False,
    )
    config.discriminator.update(
        features=96,
        residual=False,
        linear_before_last=False,
        project=False,
        joint_kernel=3,
        logit_bias=True,
        unbiased_variance=True,
        truncated_init=False,
    )
    config.training.update(mismatch="shifted_text", truncated_epsilon=False, halve_every=20 * epoch)
    config.batch_size = 128
    config.steps = 120 * epoch
    config.log_every = 100
    config.preview_every = config.save_every = 5 * epoch

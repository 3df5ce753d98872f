"""The config that every stage starts from; files in configs/ change what is theirs."""

from ml_collections import ConfigDict

from stackgan_jax.data import augment, registry
from stackgan_jax.models import presets
from stackgan_jax.runtime import configuration

# What each published program does besides its networks (StackGAN's two programs).
_TRAINING = {
    "tensorflow": {"mismatch": "other_class_image", "truncated_epsilon": True},
    "pytorch": {"mismatch": "shifted_text", "truncated_epsilon": False},
}
_CAPTIONS_PER_IMAGE = {"tensorflow": 4, "pytorch": 1}


def create(number: int, dataset: str, recipe: str = "published") -> ConfigDict:
    """Makes a stage's config with the networks of a published program.

    Widths and schedule are for the small embedded data set.

    Args:
        number: of the stage: 1, 2, 3 …
        dataset: a name of `registry.DATA_SETS`; it chooses the published program, the TensorFlow
            program if the data set belongs to neither.
        recipe: a name of `registry.RECIPES`; "modern" changes networks and losses afterwards, see
            `modern`.

    Raises:
        UserError: the data set is unknown.
    """
    data = registry.config(dataset)
    program = registry.DATA_SETS[dataset].program or "tensorflow"
    suffix = "" if dataset == "synthetic_birds" else f"-{dataset}"
    suffix += "" if recipe == "published" else f"-{recipe}"
    network = "stage1" if number == 1 else "stage2"
    size = 16 * 4**number
    config = ConfigDict(
        {
            "kind": f"stage{number}",
            "name": f"stage{number}{suffix}",
            "dataset": dataset,
            "recipe": recipe,
            "seed": 0,
            "data": data,
            # Runs that this one needs; they are copied into it, so that it then stands alone.
            # A later stage reads the captions as the stage before does: "" for its text encoder.
            "text_encoder": f"runs/text_encoder{suffix}" if number == 1 else "",
            "margin": augment.MARGIN,  # stored pictures are larger than their crops by this share
            "captions_per_image": _CAPTIONS_PER_IMAGE[program],  # whose embeddings are averaged
            "generator": {
                "network": network,
                **presets.generator(program, network),
                "features": presets.FEATURES[program]["generator"],
                "condition": 128,
                "dtype": "float32",
            },
            "discriminator": {
                "network": "matching_aware",
                **presets.discriminator(program, network),
                "size": size,
                "features": presets.FEATURES[program]["discriminator"],
                "condition": 128,
                "dtype": "float32",
            },
            "training": {
                "z_features": 100,
                "adversarial": "published",  # or hinge
                "penalty": "",  # of the discriminator's gradient: r1, matching_aware, "" for none
                "penalty_weight": 1.0,
                "kl_weight": 2.0,
                "matching_weight": 0.0,  # of the joint embedding's distance; not in the paper
                "consistency_weight": 0.0,  # of the earlier image's distance; not in the paper
                "diversity_weight": 0.0,  # of one sentence's pictures being alike; not in the paper
                "probe_weight": 0.0,  # of pictures saying less than real ones; not in the paper
                "spectrum_weight": 0.0,  # of another spectrum than real ones'; not in the paper
                "restoration_weight": 0.0,  # of enlarging reduced real images; not in the paper
                **_TRAINING[program],
                "epsilon_scale": 1.0,
                "generator_learning_rate": 2e-4,
                "discriminator_learning_rate": 2e-4,
                "learning_rate_scale": 1.0,  # factor of both; may change when a run resumes
                "beta1": 0.5,  # of Adam
                "beta2": 0.999,
                "halve_every": 5_000,
                "ema_decay": 0.999,
                "ema_images": 0,  # half-life of the average in images; 0: by ema_decay
                "augmentation": "",  # of what D sees: translation_cutout, colour_translation_cutout
                "cutout": 0.5,  # side of the square that it cuts out, as a share of the picture's
                "blur_images": 0,  # images over which a blur of what D sees fades away; 0: none
                "flip": True,  # mirror the real images at random
                "rematerialise": False,  # less memory, more time
                "batch_norm_groups": 1,  # parts of the batch, each with statistics of its own
            },
            "batch_size": 64,
            "steps": 20_000,
            "steps_per_dispatch": 0,  # 0: the best for the device
            "shard_state": False,  # True: parameters and optimiser split over the devices
            "log_every": 50,
            "preview_every": 100,
            "save_every": 500,
            "loggers": "tensorboard",  # and wandb, mlflow: "tensorboard,wandb"; "" for none
            "keep": {"newest": 2, "every": 0, "best": "", "best_mode": "min"},
            "eval": configuration.evaluation(),
        }
    )
    if number == 1:
        config.generator.size = size
    else:
        config[f"stage{number - 1}"] = f"runs/stage{number - 1}{suffix}"
    return config


def modern(config: ConfigDict, generator: int, discriminator: int = 64) -> None:
    """Changes a stage's config to the modern recipe: docs/recipes.md has its parts and sources.

    Args:
        config: of `create`.
        generator: width of the generator.
        discriminator: width of the discriminator's heads.
    """
    first = config.kind == "stage1"
    size = config.discriminator.size
    config.generator = ConfigDict(
        {
            "network": "stage1_modulated" if first else "stage2_modulated",
            "features": generator,
            "condition": 128,
            "condition_slope": 0.2,
            "log_variance": False,
            "dtype": "float32",
        }
    )
    if first:
        config.generator.size = size
    else:
        config.generator.residual_blocks = 2
    config.discriminator = ConfigDict(
        {
            "network": "projected",
            "pretrained": "lite0",  # or lite1, lite2
            "size": size,
            "view": 64 if first else 128,
            "features": discriminator,
            "dtype": "float32",
        }
    )
    config.captions_per_image = 1
    config.training.update(
        adversarial="hinge",
        mismatch="other_class_image",
        truncated_epsilon=False,
        kl_weight=1.0,
        generator_learning_rate=4e-4,
        discriminator_learning_rate=4e-4,
        beta1=0.0,
        beta2=0.99,
        halve_every=0,
        ema_images=20_000,
        augmentation="translation_cutout",
    )
    modern_for_data_set(config)
    config.training.restoration_weight = 0.0 if first else 5.0
    if first:  # a later stage's pictures take long to draw
        config.eval.update(every=max(1000, config.save_every), images=500)
        config.keep.best = "independent_kid"


def modern_for_data_set(config: ConfigDict) -> None:
    """What the modern Stage I has for drawn birds, and what for photographs (docs/recipes.md).

    Besides the discriminator, sentences are taught by the image tower that the drawn birds' text
    encoder was trained with, which reads the shades that captions name; to photographs by a probe
    on the pretrained network. Photographs are blurred at first; they are seen whole, because the
    augmentation moves them already, and less of them is cut out.
    """
    first, drawn = config.kind == "stage1", config.dataset == "synthetic_birds"
    config.training.matching_weight = 20.0 if first and drawn else 0.0
    config.training.probe_weight = 10.0 if first and not drawn else 0.0
    config.margin = augment.MARGIN if drawn else 0.0
    config.training.cutout = 0.5 if drawn else 0.3
    config.training.blur_images = 32_000 if first and not drawn else 0
    config.eval.pretrained = "" if drawn else "lite2"  # ImageNet's network has seen no drawn birds.


def own_pictures(config: ConfigDict, generator: int, discriminator: int) -> None:
    """Widths and schedule for some thousand pictures, and a light KL term.

    A light KL term lets short training follow captions.
    """
    config.generator.features, config.discriminator.features = generator, discriminator
    config.training.update(kl_weight=1.0, halve_every=10_000)
    config.update(steps=30_000, preview_every=500, save_every=500)


def published_schedule(
    config: ConfigDict, *, batch_size: int, epochs: int, halve_every: int, save_every: int
) -> None:
    """A published program's schedule.

    Args:
        config: of a data set that the program was published for.
        batch_size: of the program.
        epochs: that it trains.
        halve_every: epochs between halvings of the learning rates.
        save_every: epochs between saves and previews.
    """
    epoch = registry.DATA_SETS[config.dataset].steps_per_epoch(batch_size)
    config.training.halve_every = halve_every * epoch
    config.update(batch_size=batch_size, steps=epochs * epoch)
    config.preview_every = config.save_every = save_every * epoch

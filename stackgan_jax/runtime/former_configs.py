"""Configs of runs made by earlier versions, brought to today's form."""

from typing import Any

# Builder names that data sets had beside the names that configs take.
DATA_SETS = {"cub200": "birds", "oxford102": "flowers", "coco2014": "coco"}
# Fields that came later, with the values that earlier versions had built in.
LATER: dict[str, dict[str, Any]] = {
    "discriminator": {"reduce_kernel": 0, "linear_before_last": False},
    "training": {
        "adversarial": "published",
        "penalty": "",
        "penalty_weight": 1.0,
        "matching_weight": 0.0,
        "consistency_weight": 0.0,
        "diversity_weight": 0.0,
        "probe_weight": 0.0,
        "restoration_weight": 0.0,
        "spectrum_weight": 0.0,
        "beta1": 0.5,
        "beta2": 0.999,
        "ema_images": 0,
        "augmentation": "",
        "cutout": 0.5,
        "blur_images": 0,
    },
}


def upgrade(config: dict[str, Any]) -> dict[str, Any]:
    """Adds what a config of an earlier version lacks, and returns the same dictionary."""
    if "kind" not in config:
        for value in config.values():
            if isinstance(value, dict):
                upgrade(value)
    else:
        config.setdefault("loggers", "tensorboard")
    if "eval" in config:
        config["eval"].setdefault("independent", False)  # Its scorer would have to be trained.
        config["eval"].setdefault("pretrained", "")
    data = config.get("data", {})
    if "name" in data:
        data["name"] = DATA_SETS.get(data["name"], data["name"])
    if "joint" in config:
        for name, value in {"network": "trained", "features_file": ""}.items():
            config["image"].setdefault(name, value)
        config["joint"].setdefault("teacher", "")
    if "generator" in config:
        config.setdefault("recipe", "published")
        config.setdefault("margin", 3 / 16)
        config["generator"].setdefault("network", config["kind"])
        config["discriminator"].setdefault("network", "matching_aware")
        for part, fields in LATER.items():
            if config[part].get("network", "matching_aware") != "matching_aware":
                continue  # The projected discriminator came with all its fields.
            for name, value in fields.items():
                config[part].setdefault(name, value)
    return config

#!/usr/bin/env bash
# Makes the built-in model, stackgan_jax/pretrained/builtin/: trains on the embedded birds, scores,
# and writes a hub's folder with the card. Run it in the repository: launch/builtin_model.sh [RUNS]
# RUNS: where the runs go, runs/builtin by default. A run that stopped goes on.
set -euo pipefail
runs=${1:-runs/builtin}
target=stackgan_jax/pretrained/builtin
if [[ -e $target ]]; then
    echo "$target exists; move it away first." >&2
    exit 1
fi
# Every bird looks to the right, so nothing is mirrored.
python -m stackgan_jax.main --config=configs/text_encoder.py --workdir="$runs/text_encoder" \
    --config.data.builder_config=quickstart --config.joint.flip=False --config.load_size=38 \
    --config.steps=4500
python -m stackgan_jax.main --config=configs/stage1.py:synthetic_birds,modern \
    --workdir="$runs/stage1" --config.text_encoder="$runs/text_encoder" \
    --config.data.builder_config=quickstart --config.training.flip=False --config.batch_size=16 \
    --config.steps=6000
python -m stackgan_jax.main --mode=evaluate --workdir="$runs/stage1"
python - "$runs/stage1" "$target" <<'END'
import sys

import stackgan_jax

workdir, target = sys.argv[1:]
stackgan_jax.load(workdir).save_hub(target, dtype="bfloat16", license="apache-2.0")
END

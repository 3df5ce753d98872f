#!/usr/bin/env bash
# Trains on a Slurm cluster, a process for each GPU.
#
#   NODES=2 GPUS_PER_NODE=4 WORKDIR=/shared/runs/birds \
#     launch/slurm.sh [--dry-run] --config=configs/stage1.py:birds [more flags of the program]
#
# Settings, from the environment:
#   NODES          how many machines
#   GPUS_PER_NODE  GPUs, and processes, on each
#   WORKDIR        the run's folder, on a file system that all nodes share
#   TIME           longest time in one go (24:00:00); two minutes before its end the run saves,
#                  stops, and puts itself into the queue again
#   CPUS_PER_GPU   for reading pictures (8)
#   PYTHON         the interpreter, on the nodes (python)
# Account, partition and the like: sbatch's own SBATCH_ACCOUNT, SBATCH_PARTITION, ...

set -euo pipefail
# Slurm runs a copy of this file: the way back to the others comes with the environment.
LAUNCH="${LAUNCH:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}"
# shellcheck source=launch/common.sh
source "$LAUNCH/common.sh"

STOPPED=143 # the program's exit status when it has saved and stopped for SIGTERM

if [[ "${1:-}" == --dry-run ]]; then
  DRY_RUN=1
  shift
fi
if (($# == 0)) || [[ "$1" == --help ]]; then
  usage
  exit 0
fi
require NODES "how many machines, for example 2" \
  GPUS_PER_NODE "GPUs on each, for example 4" \
  WORKDIR "the run's folder, on a file system that all nodes share"
require_number NODES
require_number GPUS_PER_NODE
CPUS_PER_GPU="${CPUS_PER_GPU:-8}"
require_number CPUS_PER_GPU
PYTHON="${PYTHON:-python}"

# submit FLAG...: puts this script into the queue.
submit() {
  export LAUNCH NODES GPUS_PER_NODE WORKDIR CPUS_PER_GPU PYTHON
  run mkdir -p "$WORKDIR"
  run sbatch \
    --job-name=stackgan \
    --nodes="$NODES" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --gpus-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="$CPUS_PER_GPU" \
    --time="${TIME:-24:00:00}" \
    --signal=TERM@120 \
    --requeue \
    --open-mode=append \
    --output="$WORKDIR/slurm-%j.txt" \
    --chdir="$REPOSITORY" \
    --export=ALL \
    "$LAUNCH/slurm.sh" "$@"
}

# train FLAG...: in the job, one process a GPU; --coordinator=auto asks Slurm who the others are.
train() {
  local status=0
  run srun --kill-on-bad-exit=0 \
    "$PYTHON" -m stackgan_jax.main --coordinator=auto --workdir="$WORKDIR" "$@" || status=$?
  if ((status == STOPPED)); then
    run scontrol requeue "$SLURM_JOB_ID"
    exit 0
  fi
  exit "$status"
}

if [[ -z "${SLURM_JOB_ID:-}" ]]; then
  submit "$@"
  if [[ -n "$DRY_RUN" ]]; then
    echo "and in the job:"
    SLURM_JOB_ID=JOB train "$@"
  fi
else
  train "$@"
fi

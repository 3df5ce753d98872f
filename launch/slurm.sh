#!/usr/bin/env bash
# Trains on a Slurm cluster with one process for each GPU.
#
#   NODES=2 GPUS_PER_NODE=4 WORKDIR=/shared/runs/birds \
#     launch/slurm.sh [--dry-run] --config=configs/stage1.py:birds [more flags of the program]
#
# Settings, from the environment:
#   NODES          the number of machines
#   GPUS_PER_NODE  the number of GPUs, and of processes, on each machine
#   WORKDIR        the run's folder, on a file system that all machines share
#   TIME           the time limit of a job (24:00:00); two minutes before it the run saves, stops
#                  and is queued again
#   CPUS_PER_GPU   the processor cores that read images, for each GPU (8)
#   PYTHON         the Python interpreter on the machines (python)
# For account, partition and so on use sbatch's own variables: SBATCH_ACCOUNT, SBATCH_PARTITION, ...

set -euo pipefail
# Slurm runs a copy of this file, from which LAUNCH leads back to the folder of the scripts.
LAUNCH="${LAUNCH:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}"
# shellcheck source=launch/common.sh
source "$LAUNCH/common.sh"

STOPPED=143 # the program's exit status after SIGTERM, when it has saved

require_config "$@"
require NODES "the number of machines, for example 2" \
  GPUS_PER_NODE "the number of GPUs on each machine, for example 4" \
  WORKDIR "the run's folder, on a file system that all machines share"
: "${CPUS_PER_GPU:=8}" "${PYTHON:=python}"
require_numbers NODES GPUS_PER_NODE CPUS_PER_GPU

# submit FLAG...: queues this script as a job.
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

# train FLAG...: trains inside the job; with --coordinator=auto the processes find each other
# through Slurm.
train() {
  local status=0
  # srun does not take --cpus-per-task over from the job since Slurm 22.05.
  run srun --kill-on-bad-exit=0 --cpus-per-task="$CPUS_PER_GPU" \
    "$PYTHON" -m stackgan_jax.main --coordinator=auto --workdir="$WORKDIR" "$@" || status=$?
  if ((status == STOPPED)); then
    run scontrol requeue "$SLURM_JOB_ID"
    exit 0
  fi
  exit "$status"
}

if [[ -n "${SLURM_JOB_ID:-}" ]]; then
  train "$@"
else
  submit "$@"
  if [[ -n "$DRY_RUN" ]]; then
    echo "and in the job:"
    SLURM_JOB_ID=JOB train "$@"
  fi
fi

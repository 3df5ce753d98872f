#!/usr/bin/env bash
# Trains with several processes on this machine.
#
#   PROCESSES=2 launch/local.sh [--dry-run] --config=configs/stage1.py [more flags of the program]
#
# Settings, from the environment:
#   PROCESSES  how many; with GPUs process number i gets GPU number i
#   PORT       where process 0 listens (12355)
#   PYTHON     the interpreter (python)
#
# Every line is told with its process's number. Ctrl-C saves and stops all of them. When one fails,
# the others end by themselves, or are ended a minute and a half later.

set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

GRACE=90 # seconds in which the others may end by themselves: more than their --peer_timeout

if [[ "${1:-}" == --dry-run ]]; then
  DRY_RUN=1
  shift
fi
if (($# == 0)) || [[ "$1" == --help ]]; then
  usage
  exit 0
fi
require PROCESSES "how many processes, for example 2"
require_number PROCESSES
PORT="${PORT:-12355}"
PYTHON="${PYTHON:-python}"

pids=()
for ((process = 0; process < PROCESSES; process++)); do
  command=(
    "$PYTHON" -m stackgan_jax.main "$@"
    "--coordinator=localhost:$PORT" "--num_processes=$PROCESSES" "--process_id=$process"
  )
  if [[ -e /proc/driver/nvidia/version && -z "${JAX_PLATFORMS:-}" ]]; then
    command=(env "CUDA_VISIBLE_DEVICES=$process" "${command[@]}")
  fi
  if [[ -n "$DRY_RUN" ]]; then
    run "${command[@]}"
  else
    "${command[@]}" > >(sed -u "s/^/[$process] /") 2>&1 &
    pids+=($!)
  fi
done
[[ -z "$DRY_RUN" ]] || exit 0

trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' INT TERM
status=0
deadline=0
while ((${#pids[@]})); do
  sleep 0.5
  alive=()
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then
      alive+=("$pid")
      continue
    fi
    code=0
    wait "$pid" || code=$?
    if ((code != 0 && status == 0)); then
      status=$code
      deadline=$((SECONDS + GRACE))
    fi
  done
  pids=("${alive[@]}")
  if ((status != 0 && ${#pids[@]} > 0 && SECONDS >= deadline)); then
    kill -KILL "${pids[@]}" 2>/dev/null || true
  fi
done
exit "$status"

#!/usr/bin/env bash
# Trains with several processes on this machine.
#
#   PROCESSES=2 launch/local.sh [--dry-run] --config=configs/stage1.py [more flags of the program]
#
# Settings, from the environment:
#   PROCESSES  the number of processes; with GPUs process number i uses GPU number i
#   PORT       the port of process 0 (12355)
#   PYTHON     the Python interpreter (python)
#
# Each line of output starts with the number of its process. Ctrl-C saves and stops all processes.
# When one fails the others end by themselves; after a minute and a half they are killed.

set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

GRACE=90 # seconds for the others to end by themselves: longer than their --peer_timeout

require_config "$@"
require PROCESSES "the number of processes, for example 2"
require_numbers PROCESSES
: "${PORT:=12355}" "${PYTHON:=python}"

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

#!/usr/bin/env bash
# Trains on a Cloud TPU: one machine or a pod slice.
#
#   launch/tpu.sh [--dry-run] COMMAND [--config=... and more flags of the program]
#
#   create                  creates the TPU; with QUEUED=1 waits for it in Google's queue
#   setup                   copies this repository to all machines of the TPU and installs it
#   train --config=...      trains on all machines and shows the log; training survives a lost
#                           connection, and `train` again shows the log again
#   fetch                   copies the run's folder to runs/
#   delete                  deletes the TPU
#   all --config=...        create, setup, train, fetch, delete
#   keep --config=...       like `all`, but creates the TPU again when Google takes it away;
#                           training continues from the last checkpoint; for SPOT=1
#
# Settings, from the environment:
#   PROJECT      the Google Cloud project
#   ZONE         for example us-west4-a
#   TPU_NAME     the name for the TPU
#   TPU_TYPE     for example v5litepod-4 (one machine) or v5litepod-16 (a slice of four)
#   TPU_VERSION  the software of the machines, for example v2-alpha-tpuv5-lite
#   WORKDIR      the run's folder: gs://BUCKET/... for a slice or with SPOT=1; for one machine it
#                may be a path there
#   SPOT         1: cheaper, but Google may take the TPU away at any time
#   QUEUED       1: create it as a queued resource
#   MAX_RESTARTS how many times `keep` creates the TPU again (100)
#   POLL         seconds between two queries of its state (30)

set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

TREE=stackgan_jax # the repository's folder on the machines, below the home directory

# tpus GROUP VERB ARGUMENT...: runs a gcloud command for TPUs, in the project and zone.
tpus() {
  run gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE"
}

# on_all COMMAND: runs the command on all machines of the TPU.
on_all() {
  tpus tpu-vm ssh "$TPU_NAME" --worker=all --command="$1"
}

# state GROUP FIELD: prints the state of the TPU or of the queued resource; nothing if it is gone.
state() {
  local query=("$1" describe "$TPU_NAME" --format="value($2)")
  if [[ -n "$DRY_RUN" ]]; then
    tpus "${query[@]}" >&2
    echo ACTIVE
  else
    QUIET=1 tpus "${query[@]}" 2>/dev/null || true
  fi
}

create() {
  local options=(--accelerator-type="$TPU_TYPE")
  [[ "${SPOT:-}" != 1 ]] || options+=(--spot)
  if [[ "${QUEUED:-}" != 1 ]]; then
    tpus tpu-vm create "$TPU_NAME" --version="$TPU_VERSION" "${options[@]}"
    return
  fi
  tpus queued-resources create "$TPU_NAME" --node-id="$TPU_NAME" \
    --runtime-version="$TPU_VERSION" "${options[@]}"
  local now
  while now="$(state queued-resources state.state)" && [[ "$now" != ACTIVE ]]; do
    case "$now" in
      FAILED | SUSPENDED | SUSPENDING | "") fail "the queued resource $TPU_NAME is ${now:-gone}." ;;
    esac
    echo "$TPU_NAME: $now"
    sleep "$POLL"
  done
}

setup() {
  local archive="${TMPDIR:-/tmp}/$TREE-$$.tar.gz"
  run tar -C "$REPOSITORY" --exclude-vcs --exclude=./runs -czf "$archive" .
  tpus tpu-vm scp "$archive" "$TPU_NAME:$TREE.tar.gz" --worker=all || return
  run rm -f "$archive"
  # The machines' own Python may be too old, so uv installs another.
  on_all "mkdir -p $TREE && tar -C $TREE -xzf $TREE.tar.gz && cd $TREE \
&& python3 -m pip install --user --quiet uv \
&& python3 -m uv venv --quiet --allow-existing --python 3.12 venv \
&& python3 -m uv pip install --quiet --python venv/bin/python -e '.[tpu]'"
}

train() {
  local program
  program="$(printf ' %q' launch/follow.sh running venv/bin/python -m stackgan_jax.main \
    --coordinator=auto --workdir="$WORKDIR" "$@")"
  on_all "cd $TREE &&$program"
}

fetch() {
  run mkdir -p "$REPOSITORY/runs"
  if [[ "$WORKDIR" == gs://* ]]; then
    run gcloud storage cp --recursive "$WORKDIR" "$REPOSITORY/runs/"
  else
    local path="$WORKDIR"
    [[ "$path" == /* ]] || path="$TREE/$path"
    tpus tpu-vm scp --recurse "$TPU_NAME:$path" "$REPOSITORY/runs/" --worker=0
  fi
}

delete() {
  if [[ "${QUEUED:-}" == 1 ]]; then
    tpus queued-resources delete "$TPU_NAME" --force --quiet
  else
    tpus tpu-vm delete "$TPU_NAME" --quiet
  fi
}

# keep FLAG...: trains to the end on a TPU that Google may take away.
keep() {
  [[ "$WORKDIR" == gs://* ]] || fail "WORKDIR is '$WORKDIR'; it has to be on gs://, or the \
checkpoints are lost with the TPU."
  local restart status now
  for ((restart = 0; restart <= MAX_RESTARTS; restart++)); do
    status=0
    create && setup && train "$@" || status=$?
    if ((status == 0)); then
      fetch
      delete
      return
    fi
    now="$(state tpu-vm state)"
    if [[ "$now" == READY ]]; then
      echo "$TPU_NAME is ready, but the program ended with status $status; see its last lines."
      return "$status"
    fi
    echo "$TPU_NAME is ${now:-gone}: creating it again."
    delete || true
    sleep "$POLL"
  done
  fail "$TPU_NAME was taken away more than MAX_RESTARTS=$MAX_RESTARTS times."
}

command="$1"
shift
case "$command" in
  create | setup | fetch | delete) require_nothing "$@" ;;
  train | all | keep) require_config "$@" ;;
  *) fail "unknown command '$command'; choose create, setup, train, fetch, delete, all or keep." ;;
esac
require PROJECT "the Google Cloud project" \
  ZONE "for example us-west4-a" \
  TPU_NAME "the name for the TPU"
case "$command" in create | all | keep)
  require TPU_TYPE "for example v5litepod-4" \
    TPU_VERSION "the software of the machines, for example v2-alpha-tpuv5-lite"
  ;;
esac
case "$command" in train | fetch | all | keep)
  require WORKDIR "the run's folder, for example gs://BUCKET/birds"
  ;;
esac
: "${MAX_RESTARTS:=100}" "${POLL:=30}"
if [[ "$command" == all ]]; then
  create
  trap 'echo "$TPU_NAME still exists and costs money; launch/tpu.sh delete deletes it." >&2' EXIT
  setup
  train "$@"
  fetch
  delete
  trap - EXIT
else
  "$command" "$@"
fi

#!/usr/bin/env bash
# Runs a command apart from the connection, and shows its log until it ends, with its exit status.
#
#   launch/follow.sh FOLDER COMMAND...
#
# Keeps log.txt, pid and status in FOLDER. While the command runs, another call only shows the log:
# a lost connection costs nothing. launch/tpu.sh runs this on the machines of a TPU.

set -euo pipefail
folder="$1"
shift
mkdir -p "$folder"
# A command that has left its status has ended, though a process may bear its number: itself not yet
# cleared away, or another.
if [[ -e "$folder/status" ]] || ! kill -0 "$(cat "$folder/pid" 2>/dev/null)" 2>/dev/null; then
  rm -f "$folder/status"
  # shellcheck disable=SC2016  # the inner shell expands
  setsid nohup bash -c 'status="$1"; shift; "$@"; echo "$?" > "$status"' \
    follow "$folder/status" "$@" > "$folder/log.txt" 2>&1 < /dev/null &
  echo "$!" > "$folder/pid"
fi
tail --lines=+1 --follow --pid="$(cat "$folder/pid")" "$folder/log.txt"
exit "$(cat "$folder/status")"

#!/usr/bin/env bash
# Runs a command that survives a lost connection, and shows its log until it ends.
#
#   launch/follow.sh FOLDER COMMAND...
#
# Writes log.txt, pid and status to FOLDER, and exits with the command's exit status. While the
# command runs, a second call does not start it again, but shows the same log. launch/tpu.sh runs
# this script on the machines of a TPU.

set -euo pipefail
folder="$1"
shift
mkdir -p "$folder"
# The process number alone does not show that the command still runs: the ended process may not be
# cleared away yet, or another process may have got its number. The status file shows that it ended.
if [[ -e "$folder/status" ]] || ! kill -0 "$(cat "$folder/pid" 2>/dev/null)" 2>/dev/null; then
  rm -f "$folder/status"
  : > "$folder/log.txt"  # or tail may look for it before the command has begun
  # shellcheck disable=SC2016  # the inner shell expands
  setsid nohup bash -c 'status="$1"; shift; "$@"; echo "$?" > "$status"' \
    follow "$folder/status" "$@" >> "$folder/log.txt" 2>&1 < /dev/null &
  echo "$!" > "$folder/pid"
fi
tail --lines=+1 --follow --pid="$(cat "$folder/pid")" "$folder/log.txt"
exit "$(cat "$folder/status")"

#!/usr/bin/env bash
# What the launch scripts share: settings from the environment, and commands that are shown.
# Sourced by the others.

DRY_RUN=
# The scripts may be called from anywhere.
REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export REPOSITORY

# fail SENTENCE: says it and ends.
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  exit 2
}

# require NAME MEANING [NAME MEANING]...: ends unless all are set, naming all that are not.
require() {
  local missing=""
  while (($#)); do
    [[ -n "${!1:-}" ]] || missing+=$'\n'"  $1  $2"
    shift 2
  done
  [[ -z "$missing" ]] || fail "set these in the environment:$missing"
}

# require_number NAME: ends unless the setting is a whole number from 1.
require_number() {
  [[ "${!1}" =~ ^[1-9][0-9]*$ ]] || fail "$1 is '${!1}'; give a whole number from 1."
}

# run COMMAND...: shows the command as one could type it, then runs it unless --dry-run was given.
run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [[ -n "$DRY_RUN" ]] || "$@"
}

# usage: the comment at the top of the calling script.
usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

#!/usr/bin/env bash
# Shared by the launch scripts, which source it: the options --dry-run and --help, checks of
# arguments and settings, and `run`.

# The scripts may be called from any folder.
REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export REPOSITORY

# fail SENTENCE: prints the sentence and exits.
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  exit 2
}

# require NAME MEANING [NAME MEANING]...: exits unless all settings are there; names the missing.
require() {
  local missing=""
  while (($#)); do
    [[ -n "${!1:-}" ]] || missing+=$'\n'"  $1  $2"
    shift 2
  done
  [[ -z "$missing" ]] || fail "set these in the environment:$missing"
}

# require_numbers NAME...: exits unless each setting is a whole number from 1.
require_numbers() {
  local name
  for name; do
    [[ "${!name}" =~ ^[1-9][0-9]*$ ]] || fail "$name is '${!name}'; give a whole number from 1."
  done
}

# run COMMAND...: prints the command as one would type it, then runs it. With --dry-run it only
# prints; with QUIET=1 it only runs.
run() {
  if [[ -z "${QUIET:-}" ]]; then
    printf '+'
    printf ' %q' "$@"
    printf '\n'
  fi
  [[ -n "$DRY_RUN" ]] || "$@"
}

# usage: prints the comment at the top of the script.
usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
  exit 0
}

# require_config ARGUMENT...: exits unless the program's own flags follow, the first of which is
# --config. What a typing error makes of --dry-run must not run anything.
require_config() {
  (($#)) || fail "give --config=FILE, then more flags of the program."
  [[ "$1" == --config* ]] ||
    fail "'$1' is no option of this script; give --config=FILE, then more flags of the program."
}

# require_nothing ARGUMENT...: exits if there is an argument.
require_nothing() {
  (($# == 0)) || fail "'$1' is not used here; leave it out."
}

# A script that sources this file without arguments shares its own with it: `set` removes --dry-run
# from the script's arguments, wherever it stands.
DRY_RUN=
rest=()
for argument; do
  case "$argument" in
    --dry-run) DRY_RUN=1 ;;
    --help | -h) usage ;;
    --dry* | -dry* | --no-dry* | -n)
      fail "'$argument' is no option; --dry-run only prints the commands."
      ;;
    *) rest+=("$argument") ;;
  esac
done
set -- ${rest[@]+"${rest[@]}"}
(($#)) || usage

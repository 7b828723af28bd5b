#!/usr/bin/env bash
# Runs the standard's cases in a folder and compares those that do not pass with a list: a case that fails and is not
# listed, or is listed and passes, is an error.
#
# usage: standard_test.sh GRAPHRUN FOLDER LIST [flags of `graphrun verify`]
set -euo pipefail
graphrun=$1 folder=$2 list=$3
shift 3

log=$("$graphrun" verify "$folder" --failures "$@" 2>&1) || true
tail -n 2 <<<"$log"
awk '/^[A-Za-z]+ +[^ ]*test_/ {n = split($2, part, "/"); print part[n - 1] "/" part[n]}' <<<"$log" | LC_ALL=C sort |
  diff <(grep -v '^#' "$list" | LC_ALL=C sort) -
grep -q ' cases pass' <<<"$log"

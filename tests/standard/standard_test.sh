#!/usr/bin/env bash
# Runs the standard's cases in a folder and compares those that do not pass with a list: a case that fails and is not
# listed is an error, and so, where the list is of just these cases (exact), is one that is listed and passes.
#
# usage: standard_test.sh GRAPHRUN FOLDER LIST exact|several [flags of `graphrun verify`]
set -euo pipefail
graphrun=$1 folder=$2 list=$3 how=$4
shift 4

log=$("$graphrun" verify "$folder" --failures "$@" 2>&1) || true
tail -n 2 <<<"$log"
failed=$(awk '/^[A-Za-z]+ +[^ ]*test_/ {n = split($2, part, "/"); print part[n - 1] "/" part[n]}' <<<"$log" |
  LC_ALL=C sort)
listed=$(grep -v '^#' "$list" | LC_ALL=C sort)
if [[ $how == exact ]]; then
  diff <(echo "$listed") <(echo "$failed")
else
  new=$(LC_ALL=C comm -13 <(echo "$listed") <(echo "$failed"))
  [[ -z $new ]] || { printf 'not in %s:\n%s\n' "$list" "$new"; exit 1; }
fi
grep -q ' cases pass' <<<"$log"

#!/usr/bin/env bash
# Runs every style check and says which failed.
set -uo pipefail

folder=$(dirname "${BASH_SOURCE[0]}")
failed=()
for check in "$folder"/{file_size,headers,layering,model_sources,operator_names}.py "$folder"/{format,shell}.sh; do
  "$check" "$@" || failed+=("$(basename "$check")")
done
if ((${#failed[@]})); then
  echo "Failed: ${failed[*]}"
  exit 1
fi
echo "All style checks passed"

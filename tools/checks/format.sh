#!/usr/bin/env bash
# Fails on a C or C++ file that clang-format 14 would change. CLANG_FORMAT names another program.
set -euo pipefail

cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"
program=${CLANG_FORMAT:-}
for candidate in clang-format-14 clang-format; do
  [[ -n $program ]] || program=$(command -v "$candidate" || true)
done
[[ -n $program ]] || { echo "format.sh: no clang-format here; Debian's package is clang-format" >&2; exit 1; }
if [[ $("$program" --version) != *"version 14."* ]]; then
  # Later versions break lines elsewhere.
  echo "format.sh: not checked: the rule is clang-format 14, here is $("$program" --version)"
  exit 0
fi

git ls-files -z '*.h' '*.hpp' '*.cc' '*.cpp' '*.c' | xargs -0r "$program" --dry-run -Werror

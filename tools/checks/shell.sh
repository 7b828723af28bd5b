#!/usr/bin/env bash
# Fails on what shellcheck objects to in our shell scripts.
set -euo pipefail

cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"
command -v shellcheck >/dev/null || { echo "shell.sh: no shellcheck here; Debian's package is shellcheck" >&2; exit 1; }

{ git ls-files -z '*.sh'; [[ ! -f .ci/run ]] || printf '.ci/run\0'; } | xargs -0r shellcheck -x

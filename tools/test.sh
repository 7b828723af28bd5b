#!/usr/bin/env bash
# Installs, builds and runs every default test. Arguments go to ctest: tools/test.sh -R onnx --verbose

# shellcheck source=tools/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tools/setup.sh
say "Building"
configure release
build release
say "Testing"
ctest --preset release --label-exclude long "$@"

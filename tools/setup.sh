#!/usr/bin/env bash
# Installs the Debian packages that graphrun is built from. Runs as root or by sudo; a second run does nothing.
# Other systems: install the same things yourself and set GRAPHRUN_SKIP_SETUP=1.

# shellcheck source=tools/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Everything that building and testing needs, by the names that Debian 12, Debian 13 and Ubuntu 24.04 share.
PACKAGES=(
  ca-certificates g++ cmake ninja-build git python3
  libdnnl-dev libprotobuf-dev protobuf-compiler libabsl-dev libre2-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  zlib1g-dev libpng-dev libjpeg-dev libtiff-dev libwebp-dev libopenjp2-7-dev libsqlite3-dev
  libonnx-testdata
)

install_packages "${PACKAGES[@]}"

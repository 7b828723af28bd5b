#!/usr/bin/env bash
# install_test.sh BUILD_FOLDER COMPILER: installs into an empty folder, then uses what is there as strangers do.
set -euo pipefail

build=$1 compiler=$2
consumer=$(cd "$(dirname "${BASH_SOURCE[0]}")/consumer" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command, quietly unless it fails.
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }

quietly cmake --install "$build" --prefix "$work/prefix"
# Moved after the installation: nothing in it may know where it was.
mv "$work/prefix" "$work/moved"

quietly cmake -S "$consumer" -B "$work/cmake" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_PREFIX_PATH="$work/moved"
quietly cmake --build "$work/cmake"
by_cmake=$("$work/cmake/consumer")

if command -v pkg-config >/dev/null; then
  export PKG_CONFIG_PATH=$work/moved/lib/pkgconfig
  # shellcheck disable=SC2046  # the flags are words
  "$compiler" -std=c++20 "$consumer/consumer.cc" -o "$work/by_hand" -labsl_strings \
    $(pkg-config --cflags --libs graphrun)
  [[ $(LD_LIBRARY_PATH=$work/moved/lib "$work/by_hand") == "$by_cmake" ]]
fi
echo "both print: $by_cmake"

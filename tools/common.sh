# What setup.sh, quickstart.sh, test.sh and .ci/run share. Source it; it changes to the repository's folder.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

say() { printf '\n== %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  if (($#)); then printf '  %s\n' "$@" >&2; fi
  exit 1
}

# Prints those of the named Debian packages that are not installed, one a line.
missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null) == *installed* ]] ||
      echo "$package"
  done
}

# install_packages NAME...: installs those that are missing; without any it asks for neither network nor root.
install_packages() {
  if [[ -n ${GRAPHRUN_SKIP_SETUP:-} ]]; then return 0; fi
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "this system has no apt-get: the set-up knows Debian 12, Debian 13 and their like only." \
      "Install what these Debian packages hold by your system's own means: $*" \
      "then run again with GRAPHRUN_SKIP_SETUP=1."
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} == 0)); then return 0; fi

  local as_root=()
  if (($(id -u) != 0)); then
    command -v sudo >/dev/null ||
      die "packages are missing, and installing them needs root, but there is no sudo." \
        "As root, run: apt-get install ${missing[*]}"
    as_root=(sudo)
    [[ -t 0 ]] || as_root=(sudo -n)
  fi
  say "Installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0)
  "${apt[@]}" update || echo "warning: could not bring the package lists up to date; trying the old ones" >&2
  "${apt[@]}" install --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install: ${missing[*]}" \
      "Its own message stands above. No network, or no deb.debian.org in /etc/apt? Then as root, run:" \
      "apt-get update && apt-get install ${missing[*]}"
}

# How many compilers at once: one a core, and 1.5 GB of memory for each.
build_jobs() {
  local cores kilobytes by_memory
  cores=$(nproc)
  kilobytes=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
  by_memory=$((kilobytes / 1500000))
  ((by_memory >= 1)) || by_memory=1
  echo $((by_memory < cores ? by_memory : cores))
}

# configure PRESET [-DNAME=VALUE...]: writes the build files of build/PRESET, unless they are there and up to date.
configure() {
  local preset=$1 folder=build/$1 options=()
  shift
  local stamp="$folder/configured"
  if [[ -f $folder/build.ninja && $stamp -nt CMakePresets.json && $(cat "$stamp") == "$ROOT $*" ]]; then
    return 0
  fi
  # A folder that was configured elsewhere (the repository was moved or copied) is of no use here.
  if [[ -f $folder/CMakeCache.txt ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT" "$folder/CMakeCache.txt"; then
    options+=(--fresh)
  fi
  if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  cmake --preset "$preset" "${options[@]}" "$@"
  echo "$ROOT $*" >"$stamp"
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  local targets=()
  if (($#)); then targets=(--target "$@"); fi
  cmake --build --preset "$preset" --parallel "$(build_jobs)" "${targets[@]}"
}

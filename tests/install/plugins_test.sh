#!/usr/bin/env bash
# plugins_test.sh BUILD_FOLDER C_COMPILER CXX_COMPILER: installs, then writes, builds, tests and trains with plugins as
# strangers do: what they compute is what the built-in twins compute, bit for bit.
set -euo pipefail

build=$1 cc=$2 cxx=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
models=$here/../../models
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1

# Runs a command, quietly unless it fails.
quietly() { "$@" >"$work/log" 2>&1 || { echo "failed: $*"; cat "$work/log"; exit 1; }; }

quietly cmake --install "$build" --prefix "$work/prefix"
export PATH=$work/prefix/bin:$PATH
include=$work/prefix/include/graphrun/plugins
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name graphrun-plugin.pc)")
export PKG_CONFIG_PATH
cd "$work"

# The library exports its entry and nothing else.
exports_its_entry_alone() {
  [[ $(nm -D --defined-only "$1" | awk '{ print $3 }') == graphrun_plugin ]] ||
    { echo "$1 exports more than graphrun_plugin:"; nm -D --defined-only "$1" | head; exit 1; }
}
# The flags by which plugins are compiled and linked without CMake.
flags=(-I"$include" -fvisibility=hidden "-Wl,--version-script=$include/plugin.map")
if command -v pkg-config >/dev/null; then read -ra flags < <(pkg-config --cflags --libs graphrun-plugin); fi

# The header is C99, and C++; one symbol is exported.
echo '#include <graphrun_plugin.h>' >header.c
quietly "$cc" -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$include" header.c
cp header.c header.cc
quietly "$cxx" -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$include" header.cc
quietly "$cc" -std=c99 -pedantic -Wall -Wextra -Werror -O2 -ffp-contract=off -shared -fPIC -fvisibility=hidden \
  -I"$include" "$here/plugins/twin_op.c" -o twin_op.so  # in C that is enough
quietly cmake -S "$here/plugins" -B twins -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$work/prefix"
quietly cmake --build twins
cp twins/twin_train.so .
installed=$(find "$work/prefix" -path '*/graphrun/plugins/*.so')
for plugin in twin_op.so twin_train.so $installed; do exports_its_entry_alone "$plugin"; done
# Those that are installed are known by their names.
for plugin in $installed; do
  name=$(basename "$plugin" .so)
  quietly graphrun plugins --plugin "$name"
  grep -q "$plugin" "$work/log" || { echo "$name is not $plugin"; cat "$work/log"; exit 1; }
done
for plugin in twin_op twin_train; do quietly graphrun plugin test $plugin.so; done

# The same run with the built-in parts and with the twins.
plugins=(--plugin twin_op.so --plugin twin_train.so)
digits=(--data "$models/data/digits_train.csv.gz" --target digit --normalize zscore --batch 64 --epochs 2 --lr 0.05)
quietly graphrun new mlp --in 64 --layers 48,32 --out 10 --activation leakyrelu -o plain.onnx
quietly graphrun new mlp --in 64 --layers 48,32 --out 10 --activation twin::Leaky "${plugins[@]}" -o twin.onnx
quietly graphrun train plain.onnx "${digits[@]}" --optimizer momentum --l2 0.001 --out plain
quietly graphrun train twin.onnx "${digits[@]}" "${plugins[@]}" --optimizer twin_momentum --regularizer twin_l2:0.001 \
  --out twin
held_out=(--data "$models/data/digits_test.csv.gz" --target digit)
quietly graphrun predict plain "${held_out[@]}" -o plain.csv
quietly graphrun predict twin "${held_out[@]}" "${plugins[@]}" -o twin.csv
cmp plain.csv twin.csv
# What training leaves and what is exported need no plugin any more.
quietly graphrun export twin "${plugins[@]}" -o twin_out.onnx
for model in twin/best.onnx twin/last.onnx twin_out.onnx; do
  quietly graphrun predict "$model" "${held_out[@]}" -o exported.csv
  cmp plain.csv exported.csv
done

# Skeletons of every kind in both languages build, by hand and by CMake, export one symbol and pass their tests.
for kind in op optimizer regularizer dataset transform; do
  for language in c c++; do
    name=my_${kind}_${language/++/xx}
    quietly graphrun plugin new "$name" "--$kind" --language "$language"
    compile=("$cc" -std=c99 -pedantic -Wall -Wextra -Werror) suffix=c
    [[ $language == c ]] || compile=("$cxx" -std=c++17 -Wall -Wextra -Werror -Wno-unused-parameter) suffix=cc
    quietly "${compile[@]}" -O1 -shared -fPIC "$name/$name.$suffix" -o "$name.so" "${flags[@]}" -lm
    exports_its_entry_alone "$name.so"
    quietly graphrun plugin test "$name.so"
    quietly cmake -S "$name" -B "$name/build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
      -DCMAKE_PREFIX_PATH="$work/prefix"
    quietly cmake --build "$name/build"
    exports_its_entry_alone "$name/build/$name.so"
    quietly ctest --test-dir "$name/build" --no-tests=error
  done
done
for language in c cxx; do
  echo 200 >"points.my_dataset_$language"
  quietly graphrun new mlp --in 2 --layers 8 --out 2 -o spirals.onnx
  quietly graphrun train spirals.onnx --data "points.my_dataset_$language" --plugin "my_dataset_$language.so" \
    --epochs 1 --out "spirals_$language"
done
cmp spirals_c/last.onnx spirals_cxx/last.onnx  # the same points in both languages
echo "twins agree"

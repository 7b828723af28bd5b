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
cd "$work"

# The header is C99, and C++; one symbol is exported.
echo '#include <graphrun_plugin.h>' >header.c
quietly "$cc" -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$include" header.c
cp header.c header.cc
quietly "$cxx" -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$include" header.cc
quietly "$cc" -std=c99 -pedantic -Wall -Wextra -Werror -O2 -ffp-contract=off -shared -fPIC -fvisibility=hidden \
  -I"$include" "$here/plugins/twin_op.c" -o twin_op.so
quietly cmake -S "$here/plugins" -B twins -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$work/prefix"
quietly cmake --build twins
cp twins/twin_train.so .
[[ $(nm -D --defined-only twin_op.so | awk '{ print $3 }') == graphrun_plugin ]]
for plugin in "$work"/prefix/lib*/graphrun/plugins/*.so "$work"/prefix/lib/*/graphrun/plugins/*.so; do
  [[ -e $plugin ]] || continue
  [[ $(nm -D --defined-only "$plugin" | awk '{ print $3 }') == graphrun_plugin ]] ||
    { echo "$plugin exports more"; exit 1; }
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
quietly graphrun export plain -o plain_out.onnx
quietly graphrun export twin "${plugins[@]}" -o twin_out.onnx
# What is exported needs no plugin any more.
quietly graphrun predict twin_out.onnx "${held_out[@]}" -o exported.csv
cmp plain.csv exported.csv

# Skeletons build, both ways, and pass their tests.
for kind in op optimizer regularizer dataset transform; do
  quietly graphrun plugin new "my_$kind" "--$kind"
  quietly "$cxx" -std=c++17 -Wall -Wextra -Werror -Wno-unused-parameter -O1 -shared -fPIC -fvisibility=hidden \
    -I"$include" "my_$kind/my_$kind.cc" -o "my_$kind.so"
  quietly graphrun plugin test "my_$kind.so"
done
quietly cmake -S my_op -B my_op/build -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$work/prefix"
quietly cmake --build my_op/build
quietly ctest --test-dir my_op/build
echo "twins agree"

#!/usr/bin/env bash
# recipes.sh GRAPHRUN MNIST: trains models/mnist_*.txtpb on the four files in the folder MNIST and holds the best test
# accuracy of each to what it must reach; where the processor multiplies in bf16, two of them in bf16 too, to 0.2 points
# below what f32 reached. Prints a line for each and a total.
set -euo pipefail
graphrun=$(realpath "$1")
data=$(realpath "$2")
models=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../models" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
passed=0
tried=0

# best_of RUN: its best test accuracy
best_of() {
  [[ -e $1/metrics.csv ]] || { echo 0; return; }
  awk -F, '
    NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "val_accuracy") column = i }
    NR > 1 && column && $column > best { best = $column }
    END { print best + 0 }' "$1/metrics.csv"
}

# try NAME LEAST RECIPE [MODEL] [FLAGS]
try() {
  local name=$1 least=$2 recipe=$3
  shift 3
  tried=$((tried + 1))
  "$graphrun" train "$models/$recipe" "$@" --data "$data" --val "$data" --out "$name" --progress none &>"$name.log" ||
    cat "$name.log"
  local best
  best=$(best_of "$name")
  if awk -v best="$best" -v least="$least" 'BEGIN { exit !(best >= least) }'; then
    echo "$name: best test accuracy $best, at least $least asked: ok"
    passed=$((passed + 1))
  else
    echo "$name: best test accuracy $best, at least $least asked: FAILED"
  fi
}

"$graphrun" new mlp --in 784 --layers 512,512 --out 10 --dropout 0.2 -o mlp.onnx
"$graphrun" new mlp --in 784 --layers 30 --out 10 --activation sigmoid --last sigmoid -o sigmoid30.onnx
"$graphrun" new mlp --in 784 --layers 100 --out 10 --activation sigmoid --last sigmoid -o sigmoid100.onnx
try sigmoid30 0.948 mnist_sigmoid.txtpb sigmoid30.onnx
try sigmoid100 0.960 mnist_sigmoid.txtpb sigmoid100.onnx
try mlp 0.982 mnist_mlp.txtpb mlp.onnx
try cnn 0.992 mnist_cnn.txtpb
if "$graphrun" doctor | grep -q '^instructions.* avx512bf16'; then
  within() { awk -v full="$(best_of "$1")" 'BEGIN { print full - 0.002 }'; }
  try mlp_bf16 "$(within mlp)" mnist_mlp.txtpb mlp.onnx --precision bf16
  try cnn_bf16 "$(within cnn)" mnist_cnn.txtpb --precision bf16
fi
echo "$passed of $tried recipes reached what is asked"
((passed == tried))

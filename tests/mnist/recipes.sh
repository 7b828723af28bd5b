#!/usr/bin/env bash
# recipes.sh GRAPHRUN MNIST: trains models/mnist_*.txtpb on the four files in the folder MNIST and holds the best test
# accuracy of each to what it must reach. Prints a line for each and a total.
set -euo pipefail
graphrun=$(realpath "$1")
data=$(realpath "$2")
models=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../models" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
passed=0
tried=0

# try NAME LEAST RECIPE [MODEL]
try() {
  local name=$1 least=$2 recipe=$3
  shift 3
  tried=$((tried + 1))
  "$graphrun" train "$models/$recipe" "$@" --data "$data" --val "$data" --out "$name" --progress none &>"$name.log" ||
    cat "$name.log"
  awk -F, -v name="$name" -v least="$least" '
    NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "val_accuracy") column = i }
    NR > 1 && column && $column > best { best = $column; epoch = NR - 1 }
    END {
      printf "%-12s best test accuracy %.4f (epoch %d of %d), at least %.4f asked: %s\n", name, best, epoch, NR - 1,
        least, (best >= least ? "ok" : "FAILED")
      exit !(best >= least)
    }' "$name/metrics.csv" && passed=$((passed + 1))
}

"$graphrun" new mlp --in 784 --layers 512,512 --out 10 --dropout 0.2 -o mlp.onnx
"$graphrun" new mlp --in 784 --layers 30 --out 10 --activation sigmoid --last sigmoid -o sigmoid30.onnx
"$graphrun" new mlp --in 784 --layers 100 --out 10 --activation sigmoid --last sigmoid -o sigmoid100.onnx
try sigmoid30 0.948 mnist_sigmoid.txtpb sigmoid30.onnx || true
try sigmoid100 0.960 mnist_sigmoid.txtpb sigmoid100.onnx || true
try mlp 0.982 mnist_mlp.txtpb mlp.onnx || true
try cnn 0.992 mnist_cnn.txtpb || true
echo "$passed of $tried recipes reached what is asked"
((passed == tried))

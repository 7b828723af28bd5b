#!/usr/bin/env bash
# From a fresh machine to a trained model: installs, builds, trains the bundled digits model, evaluates and exports it.

# shellcheck source=tools/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

graphrun=build/release/tools/graphrun
model=models/digits_mlp.onnx
data=models/data
run=runs/quickstart

say "1/5 Packages"
tools/setup.sh

say "2/5 Building (some minutes the first time)"
configure release
build release graphrun

say "3/5 Training $model on $data/digits_train.csv.gz"
"$graphrun" train "$model" --data "$data/digits_train.csv.gz" --target digit --val-split 0.1 \
  --normalize scale255 --optimizer adam --lr 0.001 --epochs 40 --out "$run" --force

say "4/5 Evaluating on digits that it never saw, $data/digits_test.csv.gz"
"$graphrun" eval "$run/best.onnx" --data "$data/digits_test.csv.gz" --target digit

say "5/5 Exporting"
"$graphrun" export "$run" --inference -o "$run/digits.onnx"

cat <<END

Done. What is where:
  $graphrun        the command; "$graphrun --help" lists its verbs
  $run/digits.onnx             the trained model: any ONNX runtime runs it, normalisation is inside
  $run/train.onnx              the same with its training graph and optimizer state
  $run/report.html, plots/     curves and confusion matrix
  $run/recipe.txtpb            everything that this run was told, to be changed and run again

What to try next:
  $graphrun predict $run/digits.onnx --data $data/digits_test.csv.gz     what it says to each digit
  $graphrun inspect $run/digits.onnx                                     what the model holds
  $graphrun new mlp --in 64 --layers 128,64 --out 10 --dropout 0.2 -o mine.onnx
  $graphrun train mine.onnx --data $data/digits_train.csv.gz --target digit --optimizer rmsprop
  README.md                       your own data and models, the other verbs, how it is built
  tools/test.sh                   every test
END

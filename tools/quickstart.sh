#!/usr/bin/env bash
# From a fresh machine to a trained model: installs, builds, trains the bundled digits model, evaluates and exports it.

# shellcheck source=tools/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

graphrun=build/release/tools/graphrun
run=runs/quickstart

say "1/5 Packages"
tools/setup.sh

say "2/5 Building (some minutes the first time)"
configure release
build release graphrun

say "3/5 Training models/digits_mlp.onnx on models/data/digits_train.csv.gz"
"$graphrun" train models/digits_mlp.txtpb --out "$run" --force

say "4/5 Evaluating on digits that it never saw, models/data/digits_test.csv.gz"
"$graphrun" eval "$run" --data models/data/digits_test.csv.gz --target digit

say "5/5 Exporting"
"$graphrun" export "$run" --inference -o "$run/digits.onnx"

cat <<END

Done. What is where:
  $graphrun    the command; --help lists its verbs, and each verb has its own
  $run/digits.onnx           the trained model: any ONNX runtime runs it; the normalisation is inside
  $run/train.onnx            the same with its training graph and optimizer state
  $run/report.html, plots/   the curves
  $run/recipe.txtpb          all that this run was told, to be changed and run again

What to try next:
  export PATH=\$PWD/build/release/tools:\$PATH
  graphrun inspect $run/digits.onnx
  graphrun train models/digits_cnn.txtpb
  graphrun new mlp --in 64 --layers 128,64 --out 10 --activation leakyrelu -o mine.onnx
  graphrun train mine.onnx --data models/data/digits_train.csv.gz --target digit --normalize minmax --optimizer rmsprop
  tools/test.sh               every test

README.md goes on from here: your own data, your own models, and how it all works.
END

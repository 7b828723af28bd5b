#!/bin/bash
# Runs the recipes of the course and draws the plots of its pages anew, into models/course/plots.
# From the repository's root, with graphrun on the path.
set -euo pipefail

to=models/course/plots
mkdir -p "$to"
drawn=$(mktemp -d)
trap 'rm -rf "$drawn"' EXIT

train() {
  local name
  for name in "$@"; do
    graphrun train "models/course/$name.txtpb" --out "runs/course/$name" --force --progress none
  done
}

# together PAGE-NAME CHART RUN...: one chart of several runs.
together() {
  local name=$1 chart=$2
  shift 2
  graphrun plot "${@/#/runs/course/}" -o "$drawn" > "$drawn/paths"
  cp "$drawn/$chart.svg" "$to/$name.svg"
}

# alone PAGE-NAME CHART RUN: a chart of one run.
alone() {
  cp "runs/course/$3/plots/$2.svg" "$to/$1.svg"
}

train 01-linear 01-hidden-layer
together 01-networks accuracy 01-linear 01-hidden-layer
for run in linear hidden-layer; do
  graphrun plot "runs/course/01-$run" --boundary > "$drawn/paths"
  alone "01-$run" boundary "01-$run"
done

train 02-sigmoid 02-tanh 02-relu 02-leakyrelu
together 02-activations accuracy 02-sigmoid 02-tanh 02-relu 02-leakyrelu

train 03-deep-sigmoid 03-deep-relu
alone 03-deep-sigmoid gradient_norm_by_layer 03-deep-sigmoid
alone 03-deep-relu gradient_norm_by_layer 03-deep-relu

train 04-cross-entropy 04-multi-label 04-mse 04-mae
together 04-losses mae 04-mse 04-mae

train 05-full-batch 05-mini-batch 05-single-example
together 05-batches loss 05-full-batch 05-mini-batch 05-single-example

optimizers=(06-momentum 06-nesterov 06-adagrad 06-adadelta 06-rmsprop 06-adam 06-nadam)
train "${optimizers[@]}"
together 06-optimizers loss "${optimizers[@]}"

schedules=(07-step 07-exponential 07-cosine 07-plateau 07-warmup)
train "${schedules[@]}"
together 07-schedules lr "${schedules[@]}"

train 08-raw-input 08-input-normalisation 08-batch-normalisation
together 08-normalisation accuracy 08-raw-input 08-input-normalisation 08-batch-normalisation

train 09-none 09-l2 09-l1 09-elastic-net 09-dropout
alone 09-overfitting loss 09-none
for run in none l2; do
  graphrun plot "runs/course/09-$run" --boundary > "$drawn/paths"
  alone "09-boundary-$run" boundary "09-$run"
done
together 09-regularisation loss 09-none 09-l2 09-l1 09-elastic-net 09-dropout

train 10-augmentation
graphrun train models/course/10-augmentation.txtpb --augment "" --out runs/course/10-without --force \
  --progress none
together 10-augmentation loss 10-augmentation 10-without

train 11-early-stopping
alone 11-early-stopping loss 11-early-stopping

graphrun train models/course/12-tuning.txtpb --find-lr --out runs/course/rate --progress none \
  > "$drawn/paths"
cp runs/course/rate/lr_range.svg "$to/12-rate.svg"
rm -rf runs/course/activations
graphrun tune "mlp --in 64 --layers 32,32 --out 10" models/course/12-tuning.txtpb --search grid \
  --vary activation=sigmoid,tanh,relu,leakyrelu,gelu --vary init=he,glorot --epochs 6 \
  --out runs/course/activations > "$drawn/paths"
cp runs/course/activations/plots/by_activation.svg "$to/12-activations.svg"

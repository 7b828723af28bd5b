// RNN, GRU and LSTM, and their gradients, written as standard operators: unrolled over the steps.
#pragma once

#include "ops/recurrent.h"
#include "runtime/op/grad_context.h"

namespace graphrun {

// The body of a cell's operator; with layout 1 over the same operator with layout 0.
void RecurrentBody(BodyContext& b, Cell cell);

// The body of a cell's gradient operator (ai.graphrun.LSTMGrad, ...).
void RecurrentGradBody(BodyContext& b, Cell cell);

// Emits a cell's gradient operator for its forward node.
void EmitRecurrentGradient(GradContext& g, Cell cell);

}  // namespace graphrun

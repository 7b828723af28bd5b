// Kernels over packed weights (recurrent_panels.h) for RNN-like operators.
#pragma once

#include "ops/recurrent.h"

namespace graphrun {

// For LSTM, GRU and their operators that keep gates: f32 and bf16, the usual cells.
KernelFactory RecurrentPanelKernel(Cell cell);

// For the gradient operators, where Y, gates and cells are given.
KernelFactory RecurrentPanelGradKernel(Cell cell);

}  // namespace graphrun

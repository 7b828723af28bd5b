// Products of 8-bit tensors on oneDNN: convolutions and matrix products, exact in 32 bits.
#pragma once

#include "ops/conv_shape.h"
#include "ops/matmul_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Which inputs of a node are what; -1: it has none. With a y_scale the result is rounded to bytes
// as QLinearConv and QLinearMatMul say, else it is the 32-bit sums.
struct Int8Inputs {
  int a = 0, a_zero, a_scale;
  int b, b_zero, b_scale;
  int y_scale, y_zero, bias;
};

// Each gives null where oneDNN does not take the node exactly: without the processor's instructions
// for products of bytes, for weights, scales or zero points that are no constants, and for zero
// points of weights that no shift to int8 makes zero. Weights are packed once. Convolutions work
// with channels last.
absl::StatusOr<std::unique_ptr<Kernel>> OneDnnInt8Conv(PrepareContext& c, const ConvShape& s,
                                                       const Int8Inputs& inputs);
// a [..., K] by one matrix b [K, N].
absl::StatusOr<std::unique_ptr<Kernel>> OneDnnInt8MatMul(PrepareContext& c,
                                                         const Int8Inputs& inputs);

}  // namespace graphrun

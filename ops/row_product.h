// The product of one row and a constant matrix, with bias and activation: a network's linear layers
// at batch size 1. Nothing but reading the matrix costs time there.
//
// The matrix is packed into panels of up to 64 columns that each thread reads from front to back,
// in one run and from the last panel to the first in the next: what the last run left in a
// processor's own cache is then used before it is pushed out.
#pragma once

#include "ops/matmul_shape.h"
#include "ops/post_op.h"
#include "runtime/op/kernel.h"

namespace graphrun {

struct RowProductRequest {
  MatMulShape shape;
  float alpha = 1, beta = 1;  // y = activation(alpha * a b + beta * bias)
  int bias = -1;              // input of N elements
  PostOp activation;
};

// Null where a is more than one row, b is not a constant matrix, or the types are not f32 or bf16
// ones for which this build has instructions. Inputs 0 and 1 are a and b.
std::unique_ptr<Kernel> RowProduct(PrepareContext& c, const RowProductRequest& request);

// Packs a matrix `dims` for RowProduct; null where `to` is not one of its layouts.
std::unique_ptr<Kernel> RowProductReorder(DType dtype, const Dims& dims, const Layout& from,
                                          const Layout& to);

}  // namespace graphrun

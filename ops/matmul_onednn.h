// The matrix product on oneDNN, for MatMul, Gemm and the fused forms.
#pragma once

#include <dnnl.hpp>

#include "ops/matmul_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

struct MatMulRequest {
  MatMulShape shape;
  float alpha = 1, beta = 1;  // y = alpha * a b + beta * c
  int c = -1;                 // input that broadcasts to a plain product's result [M, N]
  int bias = -1;              // input [N] that is added to every row
  int added = -1;             // input of y's sizes that is added; its memory may be y's
  const dnnl::post_ops* activation = nullptr;  // applied last
};

// Null where oneDNN does not take it, or only by its reference implementation. Inputs 0 and 1 are a
// and b. A constant b is packed; any other stays as it is stored.
absl::StatusOr<std::unique_ptr<Kernel>> OneDnnMatMul(PrepareContext& c,
                                                     const MatMulRequest& request);

}  // namespace graphrun

// MatMulShape: what a matrix product computes, whatever the ranks of its operands.
//
// a [batch..., M, K] (stored [K, M] where transposed), b [batch..., K, N] (stored [N, K] where
// transposed), y [batch..., M, N]. A 1-D operand is a row (a) or a column (b) whose axis is then
// dropped from the result. https://onnx.ai/onnx/operators/onnx__MatMul.html
#pragma once

#include "runtime/op/infer_context.h"

namespace graphrun {

struct MatMulShape {
  Dims batch;             // the broadcast batch sizes; empty for a plain product
  Dims a_batch, b_batch;  // as long as `batch`, with 1 where an operand is broadcast
  int64_t m = 1, n = 1, k = 1;
  bool trans_a = false, trans_b = false;

  // REQUIRES: sizes that InferMatMulShape accepted.
  static MatMulShape Of(const Dims& a, const Dims& b, bool trans_a = false, bool trans_b = false);

  // Steps in elements of a row-major operand along one row and one column of the (untransposed)
  // matrix.
  int64_t a_row() const { return trans_a ? 1 : k; }
  int64_t a_column() const { return trans_a ? m : 1; }
  int64_t b_row() const { return trans_b ? 1 : n; }
  int64_t b_column() const { return trans_b ? k : 1; }
  bool is_empty() const;  // y has no elements
  // The same product with its batch folded into the rows of `a` where that is possible, and with
  // batch axes merged into one where both operands allow it.
  MatMulShape Simplified() const;
};

// The shape of a times b; sizes may be symbols. Errors name both shapes.
absl::StatusOr<Shape> InferMatMulShape(const NodeContext& c, const Shape& a, const Shape& b,
                                       bool trans_a = false, bool trans_b = false);

}  // namespace graphrun

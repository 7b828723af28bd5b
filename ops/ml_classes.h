// Classifiers and regressors of ai.onnx.ml: rows of features, labels of classes, and what
// post_transform makes of scores.
#pragma once

#include <string>
#include <vector>

#include "ops/ml_score.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// What these operators take: features of any of these types; scores are float32.
inline constexpr DTypeSet kMlNumbers = {DType::kFloat32, DType::kFloat64, DType::kInt64,
                                        DType::kInt32};
using MlNumbers = TypeList<float, double, int64_t, int32_t>;

// Attribute post_transform. Errors: a name that the standard does not have.
absl::StatusOr<ScoreTransform> PostTransform(const NodeContext& c);

// scores [N, K] transformed row by row.
Expr TransformScores(ScoreTransform transform, Expr scores);

// Two classes with one score `s` between them, as ONNX Runtime gives them where the standard says
// nothing: LOGISTIC (1 - p, p) of p = logistic(s), PROBIT (1 - p, p) of p = probit(s), else
// (1 - s, s), or (-s, s) where `symmetric`.
void PairOfScores(ScoreTransform transform, bool symmetric, double s, double pair[2]);

// classlabels_strings, or the int64s of attribute `ints`; a list that is empty counts as left out.
// Errors: both or neither are there.
absl::StatusOr<Tensor> ClassLabels(const NodeContext& c, const char* ints);

// N of x [N, F], or 1 of one row x [F]. Errors: another rank; other than `features` features where
// that is not negative.
absl::StatusOr<Dim> NumRows(const InferContext& c, int64_t features);

// The sizes of x as a kernel sees it.
struct RowSizes {
  int64_t rows = 0, features = 0;
};
RowSizes RowsOf(const Tensor& x);

// Copies row i of x (MlNumbers) to `row`.
void ReadRow(const Tensor& x, int64_t i, int64_t features, double* row);

// y[i] = labels[k]; int64 or strings.
void WriteLabel(const Tensor& labels, int64_t k, int64_t i, Tensor* y);

template <typename T>
Tensor Vector(const std::vector<T>& values) {
  return Tensor::Of<T>({static_cast<int64_t>(values.size())}, absl::Span<const T>(values));
}

}  // namespace graphrun

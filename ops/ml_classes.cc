#include "ops/ml_classes.h"

#include "absl/strings/str_join.h"

namespace graphrun {

absl::StatusOr<ScoreTransform> PostTransform(const NodeContext& c) {
  const std::string name = c.String("post_transform", "NONE");
  for (size_t i = 0; i < std::size(kScoreTransformNames); ++i) {
    if (name == kScoreTransformNames[i]) return static_cast<ScoreTransform>(i);
  }
  return c.Error("attribute post_transform is \"", name, "\" but must be one of ",
                 absl::StrJoin(kScoreTransformNames, ", "));
}

Expr TransformScores(ScoreTransform transform, Expr s) {
  Builder& b = *s.builder();
  switch (transform) {
    case ScoreTransform::kNone:
      return s;
    case ScoreTransform::kSoftmax:
      return b.Op("Softmax", {s}, {{"axis", Attr(1)}});
    case ScoreTransform::kLogistic:
      return Sigmoid(s);
    case ScoreTransform::kSoftmaxZero: {
      const Expr zero = Equal(s, 0.0);
      const Expr e = Where(zero, ZerosLike(s), Exp(s - ReduceMax(s, {1}, true)));
      const Expr sum = ReduceSum(e, {1}, true);
      return e / Where(Equal(sum, 0.0), FullLike(sum, 1), sum);
    }
    case ScoreTransform::kProbit: {
      const Expr x = 2.0 * s - 1.0;
      const Expr log = Log((1.0 - x) * (1.0 + x));
      const Expr v = kProbitShift + 0.5 * log;
      return M_SQRT2 * Sign(x) * Sqrt(Sqrt(v * v - (1 / kProbitShape) * log) - v);
    }
  }
  return s;
}

void PairOfScores(ScoreTransform transform, bool symmetric, double s, double pair[2]) {
  pair[1] = s;
  if (transform == ScoreTransform::kLogistic || transform == ScoreTransform::kProbit) {
    TransformScores(transform, absl::MakeSpan(pair + 1, 1));
    symmetric = false;
  }
  pair[0] = symmetric ? -pair[1] : 1 - pair[1];
}

absl::StatusOr<Tensor> ClassLabels(const NodeContext& c, const char* ints) {
  const std::vector<std::string> strings = c.Strings("classlabels_strings");
  const std::vector<int64_t> numbers = c.Ints(ints);
  if (strings.empty() == numbers.empty()) {
    return c.Error("attributes classlabels_strings and ", ints, " are ",
                   strings.empty() ? "both left out" : "both there",
                   ": exactly one must name the classes");
  }
  return strings.empty() ? Vector(numbers) : Vector(strings);
}

absl::StatusOr<Dim> NumRows(const InferContext& c, int64_t features) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) return Dim();
  const bool sound = x.rank() == 1 || x.rank() == 2;
  if (!sound ||
      (features >= 0 && x[x.rank() - 1].is_number() && x[x.rank() - 1].value() != features)) {
    return c.Error("input X has shape ", x.ToString(), " but must be [N, F] or [F] with F = ",
                   features < 0 ? "any size" : absl::StrCat(features),
                   " as the model's coefficients have");
  }
  return x.rank() == 1 ? Dim(1) : x[0];
}

RowSizes RowsOf(const Tensor& x) {
  if (x.rank() == 1) return {1, x.dim(0)};
  return {x.dim(0), x.dim(1)};
}

void ReadRow(const Tensor& x, int64_t i, int64_t features, double* row) {
  DispatchDType(MlNumbers(), x.dtype(), [&]<typename T>() {
    const T* from = x.data<T>() + i * features;
    for (int64_t j = 0; j < features; ++j) row[j] = static_cast<double>(from[j]);
  });
}

void WriteLabel(const Tensor& labels, int64_t k, int64_t i, Tensor* y) {
  if (labels.dtype() == DType::kString) {
    y->mutable_data<std::string>()[i] = labels.data<std::string>()[k];
  } else {
    y->mutable_data<int64_t>()[i] = labels.data<int64_t>()[k];
  }
}

}  // namespace graphrun

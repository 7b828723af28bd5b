// Scores of ai.onnx.ml: what post_transform makes of a row of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/types/span.h"

namespace graphrun {

// In the order of TreeEnsemble-5's numbers.
enum class ScoreTransform { kNone, kSoftmax, kLogistic, kSoftmaxZero, kProbit };
inline constexpr const char* kScoreTransformNames[] = {"NONE", "SOFTMAX", "LOGISTIC",
                                                       "SOFTMAX_ZERO", "PROBIT"};

// Winitzki's approximation of the inverse error function, which the standard's reference and other
// runtimes use for PROBIT (relative error below 2e-3): its shape, and 2 / (pi * shape).
inline constexpr double kProbitShape = 0.147, kProbitShift = 2 / (3.14159 * kProbitShape);

// The quantile of the standard normal distribution at p, approximately; infinite at 0 and 1, NaN
// outside.
inline double NormalQuantile(double p) {
  const double x = 2 * p - 1, log = std::log((1 - x) * (1 + x));
  if (std::isinf(log)) return x * std::numeric_limits<double>::infinity();
  const double v = kProbitShift + log / 2;
  return std::copysign(M_SQRT2, x) * std::sqrt(std::sqrt(v * v - log / kProbitShape) - v);
}

// Softmax over the whole row, or (SOFTMAX_ZERO) over the scores that are not 0, which stay 0.
inline void SoftmaxScores(absl::Span<double> row, bool keep_zeros) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const double v : row) top = std::max(top, v);
  for (double& v : row) {
    v = keep_zeros && v == 0 ? 0 : std::exp(v - top);
    sum += v;
  }
  for (double& v : row) v = sum == 0 ? v : v / sum;
}

inline void TransformScores(ScoreTransform transform, absl::Span<double> row) {
  switch (transform) {
    case ScoreTransform::kNone:
      return;
    case ScoreTransform::kSoftmax:
    case ScoreTransform::kSoftmaxZero:
      return SoftmaxScores(row, transform == ScoreTransform::kSoftmaxZero);
    case ScoreTransform::kLogistic:
      for (double& v : row) v = 1 / (1 + std::exp(-v));
      return;
    case ScoreTransform::kProbit:
      for (double& v : row) v = NormalQuantile(v);
      return;
  }
}

}  // namespace graphrun

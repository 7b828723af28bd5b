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

// The quantile of the standard normal distribution at p; infinite at 0 and 1, NaN outside.
inline double NormalQuantile(double p) {
  if (!(p >= 0 && p <= 1)) return std::numeric_limits<double>::quiet_NaN();
  if (p == 0 || p == 1) return (p == 0 ? -1 : 1) * std::numeric_limits<double>::infinity();
  double low = -40, high = 40;
  for (int i = 0; i < 64; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle * M_SQRT1_2) / 2 < p ? low : high) = middle;
  }
  return (low + high) / 2;
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

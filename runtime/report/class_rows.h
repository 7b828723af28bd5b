// ClassRows: a batch of scores and targets in one plain form, whatever shapes they came in.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/report/metric.h"

namespace graphrun {

struct ClassRows {
  int64_t rows = 0;
  int64_t classes = 0;        // C; 2 where there is one score a row; 0 where unknown
  bool single_score = false;  // one score a row: that of class 1
  std::vector<double>
      scores;  // [rows, classes], or [rows] if single_score; empty for chosen classes
  std::vector<int64_t> actual;  // [rows] target class (the first of the largest weights)
  std::vector<int64_t> chosen;  // [rows] predicted class; -1 where every score is NaN
  std::vector<double> weights;  // [rows, classes] where targets are weights, else empty
};

// Errors: kData as Metric::Update says.
absl::StatusOr<ClassRows> ReadClassRows(const Tensor& prediction, const Tensor& target,
                                        const MetricOptions& options);

// Two tensors as equally long lists of doubles. Errors: kData unless both have number types and the
// same shape up to axes of size 1.
absl::Status ReadPairs(const Tensor& prediction, const Tensor& target,
                       std::vector<double>* predicted, std::vector<double>* actual);

}  // namespace graphrun

// Metrics that compare numbers: errors of regression, and the agreement of several labels a row.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/report/metric.h"

namespace graphrun {

// Means over all elements: "mse" (squared error), "rmse" (its root), "mae" (absolute error),
// "max_error" (the largest absolute error).
class ErrorMetric : public Metric {
 public:
  enum class Kind { kMse, kRmse, kMae, kMax };
  explicit ErrorMetric(Kind kind) : kind_(kind) {}
  std::string name() const override;
  bool higher_is_better() const override { return false; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override;
  void Reset() override;

 private:
  Kind kind_;
  int64_t count_ = 0;
  double sum_ = 0;  // the maximum for kMax
};

// "r2": 1 - squared error / variance of the targets, a column (the elements of a row) at a time,
// then the mean over the columns. A column of constant targets gives 1 if met exactly, else 0. NaN
// for less than two rows.
class R2 : public Metric {
 public:
  std::string name() const override { return "r2"; }
  bool higher_is_better() const override { return true; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override;
  void Reset() override;

 private:
  struct Column {
    double mean = 0, spread = 0;  // of the targets: mean and sum of squared differences from it
    double squared_error = 0;
  };
  int64_t rows_ = 0;
  std::vector<Column> columns_;
};

// Several labels a row: prediction [N, L] scores, target [N, L] zeros and ones. A label is on above
// 0.5 (logits: above 0).
//   "subset_accuracy"  the share of rows with all labels right
//   "hamming_loss"     the share of labels that are wrong
//   "multilabel_f1"    F1 over all labels together (micro)
class MultiLabel : public Metric {
 public:
  enum class Kind { kSubsetAccuracy, kHammingLoss, kMicroF1 };
  MultiLabel(Kind kind, MetricOptions options) : kind_(kind), options_(options) {}
  std::string name() const override;
  bool higher_is_better() const override { return kind_ != Kind::kHammingLoss; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override;
  void Reset() override;

 private:
  Kind kind_;
  MetricOptions options_;
  int64_t rows_ = 0, labels_ = 0, exact_rows_ = 0;
  int64_t hits_ = 0, false_alarms_ = 0, misses_ = 0;
};

}  // namespace graphrun

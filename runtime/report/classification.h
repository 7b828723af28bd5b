// Metrics of single-label classification.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/report/class_rows.h"
#include "runtime/report/confusion.h"
#include "runtime/report/metric.h"

namespace graphrun {

// Any measure of the confusion matrix; also the matrix itself, for reports.
class ConfusionMetric : public Metric {
 public:
  using Measure = std::function<double(const ConfusionMatrix&)>;
  ConfusionMetric(std::string name, MetricOptions options, Measure measure)
      : name_(std::move(name)), options_(options), measure_(std::move(measure)) {}
  std::string name() const override { return name_; }
  bool higher_is_better() const override { return true; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override { return measure_(matrix_); }
  void Reset() override { matrix_.Clear(); }
  const ConfusionMatrix& matrix() const { return matrix_; }

 private:
  std::string name_;
  MetricOptions options_;
  Measure measure_;
  ConfusionMatrix matrix_;
};

// The share of rows whose target is the chosen class ("accuracy", without the memory of a matrix).
class Accuracy : public Metric {
 public:
  explicit Accuracy(MetricOptions options) : options_(options) {}
  std::string name() const override { return "accuracy"; }
  bool higher_is_better() const override { return true; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override;
  void Reset() override { rows_ = correct_ = 0; }

 private:
  MetricOptions options_;
  int64_t rows_ = 0, correct_ = 0;
};

// "topK": the share of rows where fewer than K classes score above the target; of equal scores the
// lower class counts as higher. 1 where K covers all classes.
class TopK : public Metric {
 public:
  TopK(int64_t k, MetricOptions options) : k_(k), options_(options) {}
  std::string name() const override;
  bool higher_is_better() const override { return true; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override;
  void Reset() override { rows_ = correct_ = 0; }

 private:
  int64_t k_;
  MetricOptions options_;
  int64_t rows_ = 0, correct_ = 0;
};

// "log_loss": the mean of -log p(target), p held within [1e-15, 1]; for targets that are weights
// the mean of -sum_c w_c log p_c. NaN scores make it NaN.
class LogLoss : public Metric {
 public:
  explicit LogLoss(MetricOptions options) : options_(options) {}
  std::string name() const override { return "log_loss"; }
  bool higher_is_better() const override { return false; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override;
  void Reset() override;

 private:
  MetricOptions options_;
  int64_t rows_ = 0;
  double sum_ = 0;
};

// The area under the ROC curve: the chance that a row of the class scores above one that is not,
// equal scores counting half. NaN where one of the two kinds is missing or a score is NaN.
double RocAuc(absl::Span<const double> scores, const std::vector<bool>& positive);

// "roc_auc": for two classes the area for class 1, for more the mean over the classes of one
// against the rest, without classes for which it is undefined. Exact: keeps every score (8 bytes
// each). Errors: kLimit beyond kMaxScores.
class RocAucMetric : public Metric {
 public:
  static constexpr int64_t kMaxScores = int64_t{1} << 28;
  explicit RocAucMetric(MetricOptions options) : options_(options) {}
  std::string name() const override { return "roc_auc"; }
  bool higher_is_better() const override { return true; }
  absl::Status Update(const Tensor& prediction, const Tensor& target) override;
  double Value() const override;
  // The area of class `c` against the rest.
  double OfClass(int64_t c) const;
  int64_t classes() const { return classes_; }
  void Reset() override;

 private:
  MetricOptions options_;
  int64_t classes_ = 0;
  bool single_score_ = false;
  std::vector<double> scores_;  // as ClassRows has them
  std::vector<int64_t> actual_;
};

}  // namespace graphrun

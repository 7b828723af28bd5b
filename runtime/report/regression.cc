#include "runtime/report/regression.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/status.h"
#include "runtime/report/class_rows.h"

namespace graphrun {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

std::string ErrorMetric::name() const {
  switch (kind_) {
    case Kind::kMse:
      return "mse";
    case Kind::kRmse:
      return "rmse";
    case Kind::kMae:
      return "mae";
    case Kind::kMax:
      return "max_error";
  }
  return "";
}

absl::Status ErrorMetric::Update(const Tensor& prediction, const Tensor& target) {
  std::vector<double> p, t;
  GR_RETURN_IF_ERROR(ReadPairs(prediction, target, &p, &t));
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double error = std::fabs(p[i] - t[i]);
    if (kind_ == Kind::kMax) {
      if (!std::isnan(sum_) && !(error <= sum_)) sum_ = error;
    } else {
      sum += kind_ == Kind::kMae ? error : error * error;
    }
  }
  sum_ += sum;
  count_ += static_cast<int64_t>(p.size());
  return absl::OkStatus();
}

double ErrorMetric::Value() const {
  if (count_ == 0) return kNan;
  if (kind_ == Kind::kMax) return sum_;
  const double mean = sum_ / static_cast<double>(count_);
  return kind_ == Kind::kRmse ? std::sqrt(mean) : mean;
}

void ErrorMetric::Reset() {
  count_ = 0;
  sum_ = 0;
}

absl::Status R2::Update(const Tensor& prediction, const Tensor& target) {
  std::vector<double> p, t;
  GR_RETURN_IF_ERROR(ReadPairs(prediction, target, &p, &t));
  if (t.empty()) return absl::OkStatus();
  const int64_t rows = target.rank() == 0 ? 1 : target.dim(0);
  const size_t width = t.size() / static_cast<size_t>(rows);
  if (rows_ > 0 && width != columns_.size()) {
    return DataError("r2: this batch has ", width, " numbers a row, those before had ",
                     columns_.size());
  }
  columns_.resize(width);
  for (size_t i = 0; i < t.size(); ++i) {
    if (i % width == 0) ++rows_;
    Column& column = columns_[i % width];
    const double delta = t[i] - column.mean;  // Welford's update
    column.mean += delta / static_cast<double>(rows_);
    column.spread += delta * (t[i] - column.mean);
    column.squared_error += (p[i] - t[i]) * (p[i] - t[i]);
  }
  return absl::OkStatus();
}

double R2::Value() const {
  if (rows_ < 2) return kNan;
  double sum = 0;
  for (const Column& column : columns_) {
    if (column.spread > 0 || std::isnan(column.spread)) {
      sum += 1 - column.squared_error / column.spread;
    } else {
      sum += column.squared_error == 0 ? 1 : std::isnan(column.squared_error) ? kNan : 0;
    }
  }
  return sum / static_cast<double>(columns_.size());
}

void R2::Reset() {
  rows_ = 0;
  columns_.clear();
}

std::string MultiLabel::name() const {
  switch (kind_) {
    case Kind::kSubsetAccuracy:
      return "subset_accuracy";
    case Kind::kHammingLoss:
      return "hamming_loss";
    case Kind::kMicroF1:
      return "multilabel_f1";
  }
  return "";
}

absl::Status MultiLabel::Update(const Tensor& prediction, const Tensor& target) {
  std::vector<double> p, t;
  GR_RETURN_IF_ERROR(ReadPairs(prediction, target, &p, &t));
  if (t.empty()) return absl::OkStatus();
  for (size_t i = 0; i < t.size(); ++i) {
    if (t[i] == 0 || t[i] == 1) continue;
    return DataError(name(), ": target ", t[i], " at element ", i,
                     ": labels are given as zeros and ones");
  }
  const int64_t rows = target.rank() == 0 ? 1 : target.dim(0);
  const size_t width = t.size() / static_cast<size_t>(rows);
  const double threshold = options_.from_logits ? 0.0 : 0.5;
  bool exact = true;
  for (size_t i = 0; i < t.size(); ++i) {
    const bool wanted = t[i] == 1;
    const bool wrong = std::isnan(p[i]) || (p[i] > threshold) != wanted;
    exact = exact && !wrong;
    if (wrong) {
      ++(wanted ? misses_ : false_alarms_);
    } else if (wanted) {
      ++hits_;
    }
    if ((i + 1) % width == 0) {
      exact_rows_ += exact;
      exact = true;
    }
  }
  rows_ += rows;
  labels_ += static_cast<int64_t>(t.size());
  return absl::OkStatus();
}

double MultiLabel::Value() const {
  if (rows_ == 0) return kNan;
  if (kind_ == Kind::kSubsetAccuracy) {
    return static_cast<double>(exact_rows_) / static_cast<double>(rows_);
  }
  const auto wrong = static_cast<double>(misses_ + false_alarms_);
  if (kind_ == Kind::kHammingLoss) return wrong / static_cast<double>(labels_);
  const double denominator = 2.0 * static_cast<double>(hits_) + wrong;
  return denominator == 0 ? 0 : 2.0 * static_cast<double>(hits_) / denominator;
}

void MultiLabel::Reset() {
  rows_ = labels_ = exact_rows_ = 0;
  hits_ = false_alarms_ = misses_ = 0;
}

}  // namespace graphrun

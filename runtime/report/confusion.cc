#include "runtime/report/confusion.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/status.h"

namespace graphrun {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double Ratio(double a, double b) { return b == 0 ? 0 : a / b; }

}  // namespace

absl::Status ConfusionMatrix::Grow(int64_t classes) {
  if (classes <= classes_) return absl::OkStatus();
  if (classes > kMaxClasses) {
    return LimitError("a confusion matrix of ", classes, " classes: the limit is ", kMaxClasses);
  }
  std::vector<int64_t> counts(static_cast<size_t>(classes * classes));
  for (int64_t i = 0; i < classes_; ++i) {
    std::copy_n(counts_.begin() + i * classes_, classes_, counts.begin() + i * classes);
  }
  counts_ = std::move(counts);
  actual_.resize(static_cast<size_t>(classes));
  predicted_.resize(static_cast<size_t>(classes));
  classes_ = classes;
  return absl::OkStatus();
}

void ConfusionMatrix::AddCount(int64_t actual, int64_t predicted, int64_t count) {
  total_ += count;
  actual_[static_cast<size_t>(actual)] += count;
  if (predicted < 0) {
    unchosen_ += count;
    return;
  }
  predicted_[static_cast<size_t>(predicted)] += count;
  counts_[static_cast<size_t>(actual * classes_ + predicted)] += count;
  if (actual == predicted) correct_ += count;
}

void ConfusionMatrix::Clear() { *this = ConfusionMatrix(); }

double ConfusionMatrix::Accuracy() const {
  return total_ == 0 ? kNan : static_cast<double>(correct_) / static_cast<double>(total_);
}

double ConfusionMatrix::BalancedAccuracy() const {
  double sum = 0;
  int64_t present = 0;
  for (int64_t c = 0; c < classes_; ++c) {
    if (actual(c) == 0) continue;
    sum += Recall(c);
    ++present;
  }
  return present == 0 ? kNan : sum / static_cast<double>(present);
}

double ConfusionMatrix::Precision(int64_t c) const {
  return Ratio(static_cast<double>(count(c, c)), static_cast<double>(predicted(c)));
}

double ConfusionMatrix::Recall(int64_t c) const {
  return Ratio(static_cast<double>(count(c, c)), static_cast<double>(actual(c)));
}

double ConfusionMatrix::F1(int64_t c) const {
  return Ratio(2.0 * static_cast<double>(count(c, c)),
               static_cast<double>(actual(c) + predicted(c)));
}

double ConfusionMatrix::Averaged(Average average,
                                 double (ConfusionMatrix::*of_class)(int64_t) const) const {
  if (total_ == 0) return kNan;
  double sum = 0, weight = 0;
  for (int64_t c = 0; c < classes_; ++c) {
    if (actual(c) == 0 && predicted(c) == 0) continue;
    const double w = average == Average::kMacro ? 1.0 : static_cast<double>(actual(c));
    sum += w * (this->*of_class)(c);
    weight += w;
  }
  return Ratio(sum, weight);
}

double ConfusionMatrix::Precision(Average average) const {
  if (average != Average::kMicro) return Averaged(average, &ConfusionMatrix::Precision);
  if (total_ == 0) return kNan;
  return Ratio(static_cast<double>(correct_), static_cast<double>(total_ - unchosen_));
}

double ConfusionMatrix::Recall(Average average) const {
  if (average != Average::kMicro) return Averaged(average, &ConfusionMatrix::Recall);
  return Accuracy();
}

double ConfusionMatrix::F1(Average average) const {
  if (average != Average::kMicro) return Averaged(average, &ConfusionMatrix::F1);
  if (total_ == 0) return kNan;
  return 2.0 * static_cast<double>(correct_) / static_cast<double>(2 * total_ - unchosen_);
}

double ConfusionMatrix::Matthews() const {
  if (total_ == 0) return kNan;
  const auto n = static_cast<double>(total_);
  double both = 0, actual_squares = 0, predicted_squares = 0;
  for (int64_t c = 0; c < classes_; ++c) {
    const auto a = static_cast<double>(actual(c)), p = static_cast<double>(predicted(c));
    both += a * p;
    actual_squares += a * a;
    predicted_squares += p * p;
  }
  return Ratio(static_cast<double>(correct_) * n - both,
               std::sqrt(n * n - actual_squares) * std::sqrt(n * n - predicted_squares));
}

}  // namespace graphrun

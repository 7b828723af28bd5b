#include "runtime/report/classification.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kLeastProbability = 1e-15;

double Share(int64_t part, int64_t all) {
  return all == 0 ? kNan : static_cast<double>(part) / static_cast<double>(all);
}

absl::Status NeedScores(const ClassRows& rows, absl::string_view metric) {
  if (!rows.scores.empty() || rows.rows == 0) return absl::OkStatus();
  return DataError(metric, " needs a score for every class, but the prediction is class numbers");
}

// log(1 + exp(x)) without overflow.
double Softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

double ClippedLog(double p) {
  return std::isnan(p) ? kNan : std::log(std::clamp(p, kLeastProbability, 1.0));
}

}  // namespace

absl::Status ConfusionMetric::Update(const Tensor& prediction, const Tensor& target) {
  GR_ASSIGN_OR_RETURN(const ClassRows rows, ReadClassRows(prediction, target, options_));
  int64_t classes = rows.classes;
  for (const int64_t c : rows.actual) classes = std::max(classes, c + 1);
  for (const int64_t c : rows.chosen) classes = std::max(classes, c + 1);
  GR_RETURN_IF_ERROR(matrix_.Grow(classes));
  for (size_t i = 0; i < rows.actual.size(); ++i) matrix_.Add(rows.actual[i], rows.chosen[i]);
  return absl::OkStatus();
}

absl::Status Accuracy::Update(const Tensor& prediction, const Tensor& target) {
  GR_ASSIGN_OR_RETURN(const ClassRows rows, ReadClassRows(prediction, target, options_));
  for (size_t i = 0; i < rows.actual.size(); ++i) correct_ += rows.actual[i] == rows.chosen[i];
  rows_ += rows.rows;
  return absl::OkStatus();
}

double Accuracy::Value() const { return Share(correct_, rows_); }

std::string TopK::name() const { return absl::StrCat("top", k_); }

absl::Status TopK::Update(const Tensor& prediction, const Tensor& target) {
  GR_ASSIGN_OR_RETURN(const ClassRows rows, ReadClassRows(prediction, target, options_));
  GR_RETURN_IF_ERROR(NeedScores(rows, name()));
  for (size_t i = 0; i < rows.actual.size(); ++i) {
    const int64_t actual = rows.actual[i];
    if (rows.single_score) {
      correct_ += k_ >= 2 || rows.chosen[i] == actual;
      continue;
    }
    const double* row = rows.scores.data() + static_cast<int64_t>(i) * rows.classes;
    if (std::isnan(row[actual])) continue;
    int64_t above = 0;
    for (int64_t c = 0; c < rows.classes; ++c) {
      above += row[c] > row[actual] || (row[c] == row[actual] && c < actual);
    }
    correct_ += above < k_;
  }
  rows_ += rows.rows;
  return absl::OkStatus();
}

double TopK::Value() const { return Share(correct_, rows_); }

absl::Status LogLoss::Update(const Tensor& prediction, const Tensor& target) {
  GR_ASSIGN_OR_RETURN(const ClassRows rows, ReadClassRows(prediction, target, options_));
  GR_RETURN_IF_ERROR(NeedScores(rows, name()));
  double sum = 0;
  for (size_t i = 0; i < rows.actual.size(); ++i) {
    const int64_t actual = rows.actual[i];
    if (rows.single_score) {
      const double s = rows.scores[i];
      if (options_.from_logits) {
        sum += Softplus(actual == 1 ? -s : s);
      } else {
        sum -= ClippedLog(actual == 1 ? s : 1 - s);
      }
      continue;
    }
    const size_t begin = i * static_cast<size_t>(rows.classes);
    const double* row = rows.scores.data() + begin;
    double log_total = 0;  // log of the sum of exp(logit)
    if (options_.from_logits) {
      const double top = *std::max_element(row, row + rows.classes);
      double total = 0;
      for (int64_t c = 0; c < rows.classes; ++c) total += std::exp(row[c] - top);
      log_total = top + std::log(total);
    }
    const auto log_p = [&](int64_t c) {
      return options_.from_logits ? row[c] - log_total : ClippedLog(row[c]);
    };
    if (rows.weights.empty()) {
      sum -= log_p(actual);
      continue;
    }
    for (int64_t c = 0; c < rows.classes; ++c) {
      const double w = rows.weights[begin + static_cast<size_t>(c)];
      if (w != 0) sum -= w * log_p(c);
    }
  }
  sum_ += sum;
  rows_ += rows.rows;
  return absl::OkStatus();
}

double LogLoss::Value() const { return rows_ == 0 ? kNan : sum_ / static_cast<double>(rows_); }

void LogLoss::Reset() {
  rows_ = 0;
  sum_ = 0;
}

double RocAuc(absl::Span<const double> scores, const std::vector<bool>& positive) {
  const size_t n = scores.size();
  for (const double s : scores) {
    if (std::isnan(s)) return kNan;
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double below = 0;  // negatives with a lower score
  double pairs_won = 0, positives = 0;
  for (size_t i = 0; i < n;) {
    size_t end = i;
    double pos = 0, neg = 0;
    for (; end < n && scores[order[end]] == scores[order[i]]; ++end) {
      (positive[order[end]] ? pos : neg) += 1;
    }
    pairs_won += pos * (below + neg / 2);
    below += neg;
    positives += pos;
    i = end;
  }
  return positives == 0 || below == 0 ? kNan : pairs_won / (positives * below);
}

absl::Status RocAucMetric::Update(const Tensor& prediction, const Tensor& target) {
  GR_ASSIGN_OR_RETURN(const ClassRows rows, ReadClassRows(prediction, target, options_));
  GR_RETURN_IF_ERROR(NeedScores(rows, name()));
  if (rows.rows == 0) return absl::OkStatus();
  if (!actual_.empty() && (rows.classes != classes_ || rows.single_score != single_score_)) {
    return DataError("roc_auc: this batch has ", rows.classes, " classes, those before had ",
                     classes_);
  }
  if (static_cast<int64_t>(scores_.size() + rows.scores.size()) > kMaxScores) {
    return LimitError("roc_auc keeps every score and has reached its limit of ", kMaxScores,
                      ". Evaluate it on fewer samples.");
  }
  classes_ = rows.classes;
  single_score_ = rows.single_score;
  scores_.insert(scores_.end(), rows.scores.begin(), rows.scores.end());
  actual_.insert(actual_.end(), rows.actual.begin(), rows.actual.end());
  return absl::OkStatus();
}

double RocAucMetric::OfClass(int64_t c) const {
  const size_t n = actual_.size();
  std::vector<double> scores(n);
  std::vector<bool> positive(n);
  for (size_t i = 0; i < n; ++i) {
    if (single_score_) {
      scores[i] = c == 1 ? scores_[i] : -scores_[i];
    } else {
      scores[i] = scores_[i * static_cast<size_t>(classes_) + static_cast<size_t>(c)];
    }
    positive[i] = actual_[i] == c;
  }
  return RocAuc(scores, positive);
}

double RocAucMetric::Value() const {
  if (actual_.empty()) return kNan;
  if (classes_ == 2) return OfClass(1);
  double sum = 0;
  int64_t defined = 0;
  std::vector<bool> present(static_cast<size_t>(classes_));
  for (const int64_t c : actual_) present[static_cast<size_t>(c)] = true;
  for (int64_t c = 0; c < classes_; ++c) {
    if (!present[static_cast<size_t>(c)]) continue;
    const double area = OfClass(c);
    if (std::isnan(area)) return kNan;
    sum += area;
    ++defined;
  }
  return sum / static_cast<double>(defined);
}

void RocAucMetric::Reset() {
  classes_ = 0;
  scores_.clear();
  actual_.clear();
}

}  // namespace graphrun

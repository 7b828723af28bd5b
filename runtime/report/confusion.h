// ConfusionMatrix: how often a class was taken for another, and the measures that follow from it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace graphrun {

// Grows to the largest class number seen. A measure whose denominator is zero is 0; one over no
// samples at all is NaN. Averages "macro" run over the classes that occur as target or prediction.
class ConfusionMatrix {
 public:
  static constexpr int64_t kMaxClasses = 16384;  // 2 GiB of counts

  // Makes room for `classes` classes. Errors: kLimit beyond kMaxClasses.
  absl::Status Grow(int64_t classes);
  // Counts one sample; predicted = -1 means none was chosen, which is wrong for every class.
  // REQUIRES: actual and predicted below classes().
  void Add(int64_t actual, int64_t predicted) { AddCount(actual, predicted, 1); }
  // As many samples at once. REQUIRES: count >= 0.
  void AddCount(int64_t actual, int64_t predicted, int64_t count);
  void Clear();

  int64_t classes() const { return classes_; }
  int64_t total() const { return total_; }
  int64_t count(int64_t actual, int64_t predicted) const {
    return counts_[static_cast<size_t>(actual * classes_ + predicted)];
  }
  int64_t actual(int64_t c) const { return actual_[static_cast<size_t>(c)]; }        // row sum
  int64_t predicted(int64_t c) const { return predicted_[static_cast<size_t>(c)]; }  // column sum

  double Accuracy() const;
  // The mean recall of the classes that occur as target.
  double BalancedAccuracy() const;
  double Precision(int64_t c) const;  // of those taken for c, the share that are c
  double Recall(int64_t c) const;     // of those that are c, the share taken for c
  double F1(int64_t c) const;         // 2 P R / (P + R)

  enum class Average { kMacro, kMicro, kWeighted };  // kWeighted: by the classes' frequency
  double Precision(Average average) const;
  double Recall(Average average) const;
  double F1(Average average) const;
  // Matthews' correlation coefficient for any number of classes (Gorodkin 2004, R_K).
  double Matthews() const;

 private:
  double Averaged(Average average, double (ConfusionMatrix::*of_class)(int64_t) const) const;

  int64_t classes_ = 0;
  int64_t total_ = 0;
  int64_t correct_ = 0;
  int64_t unchosen_ = 0;
  std::vector<int64_t> counts_;  // [actual, predicted]
  std::vector<int64_t> actual_, predicted_;
};

}  // namespace graphrun

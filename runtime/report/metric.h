// Metric: a number that says how good predictions are, accumulated over batches in double
// precision.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/tensor.h"

namespace graphrun {

// How predictions and targets are to be read.
struct MetricOptions {
  // Predictions are logits: a single score is positive above 0 (a probability: above 0.5), and
  // log_loss applies the softmax or sigmoid itself.
  bool from_logits = false;
  // Rows whose target is this class are left out.
  bool has_ignored_class = false;
  int64_t ignored_class = 0;
};

// Shapes, unless a metric says otherwise. Classification: prediction [N, C, ...] scores with the
// classes on axis 1, or [N] or [N, 1] the score of the second of two classes, or integers of the
// target's shape, classes already chosen. Target: class numbers [N, ...] or [N, 1] of any number
// type, or of the prediction's shape, rows of weights (one-hot or smoothed). Regression and
// multi-label: equal shapes, up to axes of size 1.
//
// One thread at a time.
class Metric {
 public:
  virtual ~Metric() = default;
  // The name that the factory knows it by, and that logs use.
  virtual std::string name() const = 0;
  virtual bool higher_is_better() const = 0;
  // Takes in a batch. Errors: kData for shapes that do not fit and classes out of range; the batch
  // is then not counted.
  virtual absl::Status Update(const Tensor& prediction, const Tensor& target) = 0;
  // The value over everything since the last Reset; NaN where that says nothing.
  virtual double Value() const = 0;
  virtual void Reset() = 0;
};

// A metric by name: those of MetricNames(), "topK" for any K >= 1, and "precision[c]", "recall[c]",
// "f1[c]" for one class. Errors: kUsage with a suggestion.
absl::StatusOr<std::unique_ptr<Metric>> MakeMetric(absl::string_view name,
                                                   const MetricOptions& options = {});

// All names in a fixed order, "top5" standing for every topK.
std::vector<std::string> MetricNames();

}  // namespace graphrun

// The learning-rate range test: a short run whose rate rises from step to step, to see between
// which rates the loss falls. Smith (arXiv:1506.01186), section 3.3.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/op/op_registry.h"
#include "runtime/train/train_registry.h"

namespace graphrun::recipe {
class Recipe;
}

namespace graphrun {

struct LrRangeOptions {
  double low = 1e-7, high = 10;  // rates of the first and the last step, geometric in between
  int64_t steps = 100;           // updates
  const std::atomic<int>* signal = nullptr;  // nonzero: stop with what there is
};

struct LrRange {
  // One entry an update. The smoothed loss is an exponential average whose bias is corrected.
  std::vector<double> lr, loss, smoothed;
  bool diverged =
      false;  // stopped since the loss had risen to four times its least, or was no number
  // Where the smoothed loss falls steepest over the logarithm of the rate; NaN where it never
  // falls.
  double suggestion = 0;
  // Where the smoothed loss is least: rates from here on are too large.
  double least_at = 0;

  // Columns lr, loss, smoothed.
  std::string ToCsv() const;
  std::string ToSvg() const;
};

// Trains the recipe's model with the rising rate in place of its schedule. Writes no file. Errors:
// those of SetUpRun; kUsage for options out of range. `parts`: what the recipe may name.
absl::StatusOr<LrRange> FindLearningRate(const recipe::Recipe& recipe, const OpRegistry& registry,
                                         const LrRangeOptions& options,
                                         const TrainRegistry& parts = TrainRegistry());

}  // namespace graphrun

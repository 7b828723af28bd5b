// Monitor: the measured value that decides on the best model, on early stopping and on plateaus.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/recipe.pb.h"
#include "runtime/report/metric.h"
#include "runtime/train/checkpoint.h"

namespace graphrun {

class Monitor {
 public:
  // By loop.monitor: "auto", "loss", or where the run validates "val_loss" and the metrics' names
  // with or without "val_". Errors: kUsage for what is not measured, with the nearest name.
  static absl::StatusOr<Monitor> Choose(const recipe::Recipe& recipe,
                                        const std::vector<std::unique_ptr<Metric>>& metrics,
                                        bool validates);

  // As the metrics log calls it.
  const std::string& name() const { return name_; }
  bool higher_is_better() const { return higher_; }
  bool Better(double a, double b) const { return higher_ ? a > b : a < b; }
  // Notes a measurement; true where it is the best so far, by more than loop.min_delta.
  bool Improves(double value, RunPosition* at) const;
  // The same for schedule.plateau; true where its patience is at its end.
  bool HasPlateau(double value, RunPosition* at) const;

 private:
  bool BetterBy(double value, double best, bool has_best, double min_delta) const;

  std::string name_;
  bool higher_ = false;
  double min_delta_ = 0, plateau_delta_ = 0;
  int64_t plateau_patience_ = -1;  // -1: the schedule is another
};

}  // namespace graphrun

// RunSummary: what came out of a training run; summary.json is this and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

struct RunSummary {
  std::string name;       // of the run
  std::string status;     // "finished", "stopped early", "interrupted", "diverged", ...
  std::string monitored;  // the metric that decides on the best, as the metrics log calls it
  bool higher_is_better = true;
  double best_value = 0;  // NaN where there is none
  int64_t best_step = 0, best_epoch = 0;
  std::string best_model;  // path, relative to the run's folder
  int64_t steps = 0, epochs = 0;
  double seconds = 0;
  std::vector<std::pair<std::string, double>> results;        // last or test metrics, to be shown
  std::vector<std::pair<std::string, std::string>> facts;     // model, parameters, data, ...
  std::vector<std::pair<std::string, std::string>> warnings;  // name, text
  std::vector<std::string> class_names;
  std::vector<std::vector<int64_t>> confusion;  // [actual][predicted], square; empty: none

  std::string ToJson() const;
  // Fields that are missing keep their defaults; unknown ones are skipped. Errors: kData.
  static absl::StatusOr<RunSummary> FromJson(absl::string_view text);
};

}  // namespace graphrun

// A training step to be measured.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/op/op_registry.h"
#include "tools/flags.h"

namespace graphrun::cli {

struct BenchStep {
  std::shared_ptr<const Graph> graph;  // inputs: the model's, then the target
  int64_t classes = 0;                 // bound of class targets; 0: the target is no class
};

// Forward, backward and update of a model as one graph, by --loss, --optimizer and --lr. Errors:
// kUsage, kModel.
absl::StatusOr<BenchStep> TrainingStep(const Graph& model, const OpRegistry& registry,
                                       const Flags& flags);

}  // namespace graphrun::cli

// CheckGradients: the gradients of a whole model against central differences, in float64.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

struct GradientCheckOptions {
  bool inputs = false;  // with respect to the float inputs instead of the weights
  int directions = 2;   // random ones, for each tensor
  double step = 1e-6;
  uint64_t seed = 1;
};

// One tensor: the derivative of a random sum of the outputs along a random direction.
struct GradientCheckRow {
  std::string name;
  Dims dims;
  bool reaches = true;  // the tensor influences the outputs
  // Of the worst direction. `error` is relative to the larger of both, or to the scale of rounding
  // where both are tiny.
  double analytic = 0, numeric = 0, error = 0;
};

// The model is brought into inference form and turned into float64. `inputs` are values for its
// inputs (undefined: the default). Errors: those of inference and of AppendGradients.
absl::StatusOr<std::vector<GradientCheckRow>> CheckGradients(const Graph& model,
                                                             const OpRegistry& registry,
                                                             const std::vector<Datum>& inputs,
                                                             const GradientCheckOptions& options);

}  // namespace graphrun

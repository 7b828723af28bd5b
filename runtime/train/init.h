// First values of parameters.
#pragma once

#include <cstdint>

#include "proto/recipe.pb.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// Draws new values for the weights and biases of a model (normalisation parameters and statistics
// stay):
//   HE      weights N(0, 2 / fan_in), biases 0. He et al. (arXiv:1502.01852).
//   GLOROT  weights uniform in +-sqrt(6 / (fan_in + fan_out)), biases 0. Glorot, Bengio (AISTATS
//   2010). NORMAL  weights and biases N(0, 1).
// The same seed gives the same values, whatever the number of threads.
absl::Status InitializeParameters(Graph& model, const OpRegistry& registry,
                                  recipe::Model::Init init, uint64_t seed);

}  // namespace graphrun

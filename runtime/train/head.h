// A new last layer for a model that was trained on other classes.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/op/op_registry.h"

namespace graphrun {

// "replace:N": the last linear layer on the way to the model's first output gets N outputs, weights
// drawn as Glorot and Bengio (2010) and a bias of zeros; all else stays. Errors: kUsage for another
// text, kModel where no weight matrix [in, out] or [out, in] stands before the output.
absl::Status ReplaceHead(Graph& model, const OpRegistry& registry, const std::string& spec,
                         uint64_t seed);

}  // namespace graphrun

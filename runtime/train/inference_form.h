// A model's form for inference, and what is baked into it.
#pragma once

#include "absl/status/status.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// The model in inference form: Dropout gone, statistics fixed.
absl::Status ToInferenceForm(Graph& graph, const OpRegistry& registry);

// (x - shift) * scale in front of graph input `input`; its consumers read the result.
void BakeNormalization(Graph& graph, const OpRegistry& registry, int input, const Tensor& shift,
                       const Tensor& scale);

}  // namespace graphrun

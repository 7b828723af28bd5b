// Graphs with gradients as plain ONNX.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"
#include "tools/flags.h"

namespace graphrun::cli {

// The graph in operators of the standard. The gradients of convolutions and pooling have no words
// in ONNX for a batch of any size: the inputs then take the sizes that --shape and --batch give,
// else `batch` on their first axis (0: none is known), of which the user is told. Errors: kModel,
// kUsage.
absl::StatusOr<std::unique_ptr<Graph>> ToPlainForm(const Graph& graph, const OpRegistry& registry,
                                                   const Flags& flags, int64_t batch = 0);

}  // namespace graphrun::cli

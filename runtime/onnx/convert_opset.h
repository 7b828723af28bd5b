// ConvertOpset: a graph at another version of the standard's operator set.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// A copy whose nodes of domain ai.onnx are all of `version`. A node that means something else there
// is replaced by its body where it has one; to older versions only nodes that mean the same go.
// Element types that an operator gained between the versions are not looked at. REQUIRES: nodes in
// topological order. Errors: those of InferTypes; kModel naming the first node that does not go.
absl::StatusOr<std::unique_ptr<Graph>> ConvertOpset(const Graph& graph, const OpRegistry& registry,
                                                    int version);

}  // namespace graphrun

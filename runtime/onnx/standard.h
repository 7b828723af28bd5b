// ToStandard: a graph of our own operators as plain ONNX.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// A copy of `graph` for other runtimes: operators of ai.graphrun (and of any other domain whose
// declaration has a body) are replaced by their bodies, and operators that mean something else at
// the newest version that the graph uses are replaced by bodies over newer ones; that version
// becomes the imported one. States stay. REQUIRES: nodes in topological order.
//
// Errors: those of InferTypes; kModel where an operator of ai.graphrun has no body, or stands in a
// nested graph.
absl::StatusOr<std::unique_ptr<Graph>> ToStandard(const Graph& graph, const OpRegistry& registry);

// The nodes of operators that neither the standard nor graphrun nor ONNX Runtime brings along: a
// plugin's. Those in nested graphs are left out. With `body`: only those that have one.
std::vector<const Node*> CustomNodes(const Graph& graph, const OpRegistry& registry, bool body);

}  // namespace graphrun

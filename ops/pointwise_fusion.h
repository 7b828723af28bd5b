// The rewrite that gathers elementwise operators into ai.graphrun.Pointwise.
#pragma once

#include "absl/status/statusor.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// Replaces connected elementwise operators with results of one size by one node each; what others
// read of them becomes its outputs. Operators are never computed twice and no cycle comes about.
// Then nodes with the same program whose results no other node reads (the update of every
// parameter) become one node with many groups. Takes time proportional to the graph. Says whether
// anything changed. REQUIRES: inferred types; nodes whose sizes are not numbers stay.
absl::StatusOr<bool> FusePointwise(Graph& graph, const OpRegistry& registry);

}  // namespace graphrun

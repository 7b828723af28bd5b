// Nodes that are prepared when they run: their sizes depend on data.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/op/op_registry.h"

namespace graphrun {

// A graph of its own that holds a copy of `node` only.
std::unique_ptr<Graph> LateGraph(const Node& node);

// Runs the node of a LateGraph: infers its types from `inputs`, then takes the first kernel that
// serves them. Pointers to results that nobody reads are null. Errors: those of inference and of
// the kernel.
absl::Status RunLate(Graph& graph, const OpRegistry& registry, const Datum* const* inputs,
                     Datum* const* outputs, uint64_t seed, uint64_t step);

}  // namespace graphrun

// What every verb that writes a model does at its end.
#pragma once

#include "absl/status/status.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"
#include "tools/flags.h"

namespace graphrun::cli {

// Infers types, writes the graph to --output and says so.
absl::Status WriteModel(Graph* graph, const OpRegistry& registry, const Flags& flags);

}  // namespace graphrun::cli

// Verify: is a graph sound?
#pragma once

#include "absl/status/status.h"
#include "runtime/ir/graph.h"

namespace graphrun {

// Checks what every room relies on: values and nodes know each other (producers, uses, outputs),
// names are unique and not empty, each node stands behind what it reads, nested graphs have an
// input for every capture, states are initializers whose successors have their type, and the limits
// of limits.h hold. What operators mean is not looked at. Time linear in the graph.
//
// Errors: kInternal where an edit broke the graph (a pass that fails here has a bug), kLimit, and
// kModel for states whose types differ.
absl::Status Verify(const Graph& graph);

}  // namespace graphrun

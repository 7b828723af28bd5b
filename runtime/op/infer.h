// Type and shape inference over a graph.
#pragma once

#include "runtime/op/op_registry.h"

namespace graphrun {

// Checks a node against its declaration (number of inputs and outputs, attributes and their kinds,
// element types) and sets its outputs' types. `known` gains what inference learns of sizes. Inputs'
// types must be set before.
absl::Status InferNode(Node& node, const OpRegistry& registry, KnownValues* known);

// InferNode over the whole graph in list order (REQUIRES: sorted). Initializers that are not states
// count as known. Types that the model declares are kept where inference knows less, and refused
// where they contradict it.
absl::Status InferTypes(Graph& graph, const OpRegistry& registry, KnownValues* known = nullptr);

// Puts a node's body in its place: the nodes of its declaration's Body. The node is erased.
absl::Status InlineBody(Graph& graph, Node* node, const OpRegistry& registry,
                        KnownValues* known = nullptr);

}  // namespace graphrun

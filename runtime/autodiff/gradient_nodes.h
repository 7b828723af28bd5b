// Nodes that ask for derivatives inside a model (domain ai.onnx.preview.training, attributes xs, zs
// and y).
#pragma once

#include "runtime/op/op_registry.h"

namespace graphrun {

// Replaces every such node by the nodes that compute what it asks for: y as a function of the
// values named by xs and zs, at the node's inputs (which take their places, in the order of xs,
// then zs), differentiated by each of xs. What y needs and neither depends on is used as it is. A y
// that does not depend on some x gives zeros. Nodes that ask for derivatives of derivatives are
// served in order. Says whether there was one. REQUIRES: sorted, types inferred; after a change
// both hold again. Errors (kModel): names that no value has, counts that do not fit, a way to y
// without a gradient.
//
// Source: https://onnx.ai/onnx/operators (ai.onnx.preview.training, Gradient 1).
absl::StatusOr<bool> ExpandGradientNodes(Graph& graph, const OpRegistry& registry);

}  // namespace graphrun

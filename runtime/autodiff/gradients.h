// AppendGradients: reverse-mode differentiation as graph nodes.
#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

struct GradientOptions {
  // dL/dy for the differentiated value; null: ones (the usual case of a scalar loss).
  Value* seed = nullptr;
};

// Appends to `graph` the nodes that compute d loss / d v for every v of `targets`; returns them in
// the order of `targets`, each of its target's shape and element type. A target that does not
// influence the loss has gradient null. REQUIRES: sorted, types inferred. Operators without a
// gradient rule but with a function body are replaced by it. Errors (kModel): an operator on the
// way that has no gradient, by name, with the reason.
absl::StatusOr<std::vector<Value*>> AppendGradients(Graph& graph, const OpRegistry& registry,
                                                    Value* loss, const std::vector<Value*>& targets,
                                                    const GradientOptions& options = {});

// What differentiation meets on the way from `targets` to `loss`.
struct GradientCoverage {
  struct Row {
    const Node* node;
    bool differentiable;
    std::string how;  // "rule", "body", or why there is none
  };
  std::vector<Row> rows;
};
GradientCoverage CheckGradientCoverage(const Graph& graph, const OpRegistry& registry,
                                       const Value* loss, const std::vector<Value*>& targets);

}  // namespace graphrun

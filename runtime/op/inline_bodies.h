// BodyInliner: puts bodies in the place of nodes, and ends where they lead back to themselves.
#pragma once

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "runtime/ir/graph.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// Knows how many bodies deep the nodes are that it made.
class BodyInliner {
 public:
  // As InlineBody. Errors: also kLimit for a node that is kMaxInlineDepth bodies deep, which no
  // sound operator makes.
  absl::Status Inline(Graph& graph, Node* node, const OpRegistry& registry,
                      KnownValues* known = nullptr);

 private:
  absl::flat_hash_map<const Node*, int> depths_;
};

}  // namespace graphrun

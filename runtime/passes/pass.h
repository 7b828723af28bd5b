// Pass and PassPipeline: graph-to-graph transformations and their order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/op/op_registry.h"

namespace graphrun {

// A pass says whether it changed anything. It leaves the graph sorted and its types inferred.
struct Pass {
  std::string name;
  std::function<absl::StatusOr<bool>(Graph&, const OpRegistry&)> run;
};

class PassPipeline {
 public:
  PassPipeline& Add(Pass pass) {
    passes_.push_back(std::move(pass));
    return *this;
  }
  // Runs the passes in order, once. The graph is verified after each that changed something; a
  // failure names the pass.
  absl::Status Run(Graph& graph, const OpRegistry& registry) const;
  const std::vector<Pass>& passes() const { return passes_; }

 private:
  std::vector<Pass> passes_;
};

// What every plan wants on a specialised graph: no-ops, equal nodes and dead code removed, then
// (with `fuse`) the rewrites that operator families registered. `precision` kBFloat16: mixed
// precision on what is fused (mixed_precision.h).
PassPipeline StandardPipeline(const OpRegistry& registry, bool fuse,
                              DType precision = DType::kFloat32);

// Merges equal nodes, then runs the rewrites that recognise operators which a model spells out
// (GELU, normalisations); sizes need not be known. For a graph that gradients are to be appended
// to; plans run these rewrites with the others.
absl::Status RecognizePatterns(Graph& graph, const OpRegistry& registry);

// ---- the passes

// Removes nodes whose outputs nobody reads, and initializers without use. Graph inputs and states
// stay.
absl::StatusOr<bool> RemoveDeadCode(Graph& graph, const OpRegistry& registry);
// Removes nodes that only hand on one of their inputs (OpDef::NoOp).
absl::StatusOr<bool> RemoveNoOps(Graph& graph, const OpRegistry& registry);
// Merges nodes of equal operator, attributes and inputs, and initializers of equal bits up to 64
// bytes.
absl::StatusOr<bool> MergeEqualNodes(Graph& graph, const OpRegistry& registry);
// Replaces calls of the model's own functions by their bodies.
absl::StatusOr<bool> InlineFunctions(Graph& graph, const OpRegistry& registry);

struct SpecializeOptions {
  bool fold = true;                             // compute nodes whose inputs are all constant
  int64_t max_folded_bytes = int64_t{1} << 28;  // results above that are left to run time
  // Leave constants of one byte an element as they are where a node only widens them to floats
  // (dequantised weights), for rewrites that want the bytes; FoldConstants computes the rest.
  bool keep_bytes = false;
};
// Computes nodes whose inputs are all constant, as Specialize does. Types must be known.
absl::StatusOr<bool> FoldConstants(Graph& graph, const OpRegistry& registry);
// Infers all types from the graph inputs' (concrete where the caller made them so), folds constants
// and shape arithmetic on the way, and replaces nodes whose operator has only a body by it.
absl::StatusOr<bool> Specialize(Graph& graph, const OpRegistry& registry,
                                const SpecializeOptions& options = {});
// The same for the nodes after `after` (null: from the first) and before `before` (null: to the
// last) only.
absl::Status SpecializeBetween(Graph& graph, const OpRegistry& registry, Node* after, Node* before,
                               const SpecializeOptions& options = {});

}  // namespace graphrun

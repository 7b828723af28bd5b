// A plain interpreter: runs nodes one by one, row-major, without planning. Constant folding and
// tests use it.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

struct EvaluateOptions {
  std::string kernel;  // take only the kernel of that name; "": the last declared one that accepts
                       // ("native")
  bool prefer_first = false;  // with kernel "": the first one that accepts
  bool in_place = false;      // outputs take the memory of inputs where the declaration allows it
  bool use_body = false;      // run the operator's function body instead of a kernel
  uint64_t seed = 0, step = 0;
};

// Runs one node on these inputs (undefined Datum: left out; captures last). Output types must have
// been inferred.
absl::StatusOr<std::vector<Datum>> EvaluateNode(const Node& node, const OpRegistry& registry,
                                                const std::vector<Datum>& inputs,
                                                const EvaluateOptions& options = {});

// Runs a whole graph on values for its inputs, by name; returns its outputs and, in `all`, every
// value.
absl::StatusOr<std::vector<Datum>> EvaluateGraph(
    const Graph& graph, const OpRegistry& registry,
    const absl::flat_hash_map<std::string, Datum>& inputs, const EvaluateOptions& options = {},
    absl::flat_hash_map<const Value*, Datum>* all = nullptr);

}  // namespace graphrun

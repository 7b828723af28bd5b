// The text syntax of graphs, for tests and dumps.
//
// ONNX's textual form (docs/Syntax.md of the standard), for example
//
//   <ir_version: 8, opset_import: ["" : 17, "ai.graphrun" : 1]>
//   net (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}> {
//     [first] t = MatMul(x, w)
//     y = ai.graphrun.Scale <factor = 0.5, axes = [0, 1]> (t, , w)
//   }
//
// `float` is a scalar, `float[]` a tensor of unknown rank, `float[?, N, 3]` one with an unknown
// size, a symbol and a number. Quotes make a name of any characters; `""` or nothing is an omitted
// input or output; `#` begins a comment. Attributes hold 1, 0.5, "s", lists in [], tensors
// `int64[2] {3, 4}`, nested graphs, and in functions references `@name`; where the value does not
// tell the type, it is written: `axes: ints = []`.
//
// Beyond the standard: `Add@13` is the operator of that version whatever the header says; types,
// the graph's name and the header may be left out (operators are then of version 21, other domains
// of version 1), and `update_binding: ["w" : "w_next"]` in the header makes states ("w" : "" for a
// state without successor).
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/ir/graph.h"
#include "runtime/ir/named.h"

namespace graphrun {

// Errors: kModel with line and column.
absl::StatusOr<NamedModel> ParseModel(absl::string_view text);

// ParseModel and ResolveNames (ResolveTraining where the text has updates).
absl::StatusOr<std::unique_ptr<Graph>> ParseGraph(absl::string_view text);

struct PrintOptions {
  bool header = true;  // versions and metadata in front
  // Every node's version where it is not the imported one ("@13"); else only where it is newer.
  bool versions = false;
  bool types = true;          // types of inner values, behind the graph's outputs
  int64_t max_elements = -1;  // of a tensor; then "..." (which does not parse); -1: all
};

std::string PrintModel(const NamedModel& model, const PrintOptions& options = {});
std::string PrintGraph(const Graph& graph, const PrintOptions& options = {});
// One node as a line of its graph.
std::string PrintNode(const Node& node);

// A type in that syntax: "float[N, 3]", "seq(int64[])"; "" where unknown.
std::string PrintType(const Type& type);

}  // namespace graphrun

// NamedModel: a model whose edges are names, as files and the text syntax hold it.
//
// ResolveNames makes a Graph of it: it looks names up, scopes included, turns names that a nested
// graph takes from outside into captures, sorts nodes and reports what does not fit. NameValues
// goes the other way.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"

namespace graphrun {

struct NamedGraph;

// A graph input, a graph output, or what a file says of an inner value.
struct NamedValue {
  std::string name;
  Type type;
};

struct NamedNode {
  // An attribute that holds one nested graph, or a list of them.
  struct GraphAttr {
    std::string name;
    bool is_list = false;
    std::vector<NamedGraph> graphs;
  };
  std::string name, domain, op_type, overload, doc;
  std::vector<std::string> inputs, outputs;  // "" where left out
  AttrMap attrs;                             // those that hold no graphs
  std::vector<GraphAttr> graphs;
  std::map<std::string, std::string> metadata;
  int opset = 0;  // version of the domain's operator set; 0: the one that the scope imports
  int line = 0;   // where a text has it; 0: not from a text
};

struct NamedGraph {
  std::string name, doc;
  std::vector<NamedValue> inputs, outputs;
  std::vector<NamedValue> value_infos;  // types of inner values
  std::vector<std::pair<std::string, Tensor>> initializers;
  std::vector<NamedNode> nodes;
  std::map<std::string, std::string> metadata;
};

struct NamedFunction {
  std::string domain, name, overload;
  std::vector<std::string> attributes;  // without default
  AttrMap defaults;
  std::map<std::string, int> opset_imports;
  NamedGraph body;
};

// Pairs of names: what is assigned, and what it is assigned from.
using Bindings = std::vector<std::pair<std::string, std::string>>;

// TrainingInfoProto: one step computes the model's graph and `algorithm` joined, then assigns
// `updates` all at once. `initialization` has no inputs.
struct NamedTraining {
  NamedGraph initialization, algorithm;
  Bindings initialization_bindings;  // initializer <- output of initialization
  Bindings updates;                  // initializer <- output of the joined graph
};

struct NamedModel {
  int64_t ir_version = 0;
  std::map<std::string, int> opset_imports;  // domain "" is ai.onnx
  std::string producer_name, producer_version, domain, doc;
  int64_t model_version = 0;
  std::map<std::string, std::string> metadata;
  NamedGraph graph;
  std::vector<NamedFunction> functions;
  std::vector<NamedTraining> training;
};

// The newest IR version whose rules are known here.
inline constexpr int64_t kMaxIrVersion = 14;

// The model's inference graph. Initializers that are inputs as well are defaults of inputs from IR
// version 4 on, and plain constants before. Nodes without a version of their own get the one that
// the scope's opset_imports give their domain (1 where none does). Errors: kModel with the node,
// what was received, and the nearest name; kLimit beyond limits.h.
absl::StatusOr<std::unique_ptr<Graph>> ResolveNames(const NamedModel& model);

// The graph that a training step runs: the model's graph joined with every algorithm; their updates
// become Graph::states(), initializers that only initialization sets become states without
// successor. Outputs of an algorithm that only serve an update are not outputs of the result.
// Errors: as above, and kModel where a binding names what is not there or sets one state twice.
absl::StatusOr<std::unique_ptr<Graph>> ResolveTraining(const NamedModel& model);

// The graph that computes initial values: outputs in the order of `initialization`'s own.
absl::StatusOr<std::unique_ptr<Graph>> ResolveInitialization(const NamedModel& model,
                                                             const NamedTraining& training);

// The names of a graph's edges, captures undone: a nested graph's values are renamed where their
// name is taken outside. Where a nested graph returns a captured value as it is, a copying node
// stands between, as the standard asks. States and their updates go to `training` as one entry
// with empty graphs. Types of inner values are written where known.
NamedModel NameValues(const Graph& graph);

// A training graph as a model with one NamedTraining: what `inference_outputs` (values of `graph`)
// need becomes the model's graph, the rest its algorithm, Graph::states() its updates. An update
// that the algorithm does not compute itself is copied there; a state without successor is bound to
// its own first value in `initialization`. REQUIRES: nodes in topological order.
NamedModel NameTraining(const Graph& graph, absl::Span<Value* const> inference_outputs);

}  // namespace graphrun

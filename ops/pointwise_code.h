// PointwiseCode: the attributes of ai.graphrun.Pointwise, decoded.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ops/pointwise_program.h"
#include "runtime/op/expr.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// Elementwise operators wired together, for one or many groups of tensors. Values are numbered as
// in PointwiseProgram.
struct PointwiseCode {
  struct Step {
    std::string domain, op_type;
    std::vector<int> args;  // values; -1: left out
    AttrMap attrs;
  };
  int num_inputs = 0;  // of one group
  std::vector<float> constants;
  std::vector<DType> constant_types;  // kUndefined: input 0's
  std::vector<Step> steps;
  std::vector<int> outputs;
  std::vector<DType> output_types;  // kUndefined: input 0's
  int groups = 1;
  int shared = 0;  // the first inputs of every group are the same values, which the node has once

  // The node's input or output that is number i of group g.
  int NodeInput(int g, int i) const {
    return i < shared ? i : shared + g * (num_inputs - shared) + i - shared;
  }
  int NodeOutput(int g, int o) const { return g * static_cast<int>(outputs.size()) + o; }
  int num_node_inputs() const { return shared + groups * (num_inputs - shared); }
  int num_node_outputs() const { return groups * static_cast<int>(outputs.size()); }

  AttrMap ToAttrs() const;
  // Errors where attributes contradict each other or the node's inputs and outputs.
  static absl::StatusOr<PointwiseCode> FromNode(const Node& node);

  // Emits the steps as nodes of their own; returns the outputs.
  std::vector<Expr> Emit(Builder& builder, const std::vector<Expr>& inputs) const;
  // The steps as a program for inputs of these types. Errors where a step is no elementwise
  // operator or does not take its arguments.
  absl::StatusOr<PointwiseProgram> Compile(const OpRegistry& registry,
                                           const std::vector<Type>& inputs) const;
};

}  // namespace graphrun

// PostOp: an activation that a fused operator applies to its result, held in the attributes
// `activation`, `activation_alpha` and `activation_beta`.
#pragma once

#include <string>

#include "ops/onednn.h"
#include "runtime/op/op_def.h"

namespace graphrun {

struct PostOp {
  std::string name;  // "" (none), Relu, LeakyRelu, Elu, Sigmoid, Tanh, HardSwish, Clip
  float alpha = 0;   // LeakyRelu and Elu: alpha; Clip: the lower bound
  float beta = 0;    // Clip: the upper bound

  static PostOp Of(const NodeContext& c);
  // What an activation's node computes; nothing where it is none of these.
  static absl::optional<PostOp> Match(const Node& node);
  // Declares the attributes.
  static OpDef& Declare(OpDef& def);
  void SetOn(AttrMap* attrs) const;

  bool is_none() const { return name.empty(); }
  double Apply(double x) const;
  Expr Apply(Expr x) const;
  void AppendTo(dnnl::post_ops& post_ops) const;
};

// A node's int or float attribute, or `fallback`.
double NumberAttr(const Node& node, absl::string_view name, double fallback);

// The other tensor where `node` is the sum of two (Add, or Sum of two) and `one` is one of them;
// else null.
Value* OtherAddend(const Node* node, const Value* one);

// The only node that reads `value`; null where there are more, or where it leaves the graph.
Node* SoleUser(const Graph& graph, const Value* value);

}  // namespace graphrun

// GradContext and BodyContext: what a gradient rule and a function body see.
#pragma once

#include <vector>

#include "runtime/op/expr.h"
#include "runtime/op/node_context.h"

namespace graphrun {

// The gradient of a node: given dL/dy for its outputs, say dL/dx for its inputs. AppendGradients
// sums contributions and undoes broadcasting: dx(i, e) may have the shape of the broadcast result.
class GradContext : public NodeContext {
 public:
  GradContext(const Node& node, const OpDef& def, Builder* builder, std::vector<Value*> dys,
              std::vector<bool> needs)
      : NodeContext(node, def),
        builder_(builder),
        dys_(std::move(dys)),
        needs_(std::move(needs)),
        dxs_(static_cast<size_t>(node.num_inputs())) {}

  Builder& builder() { return *builder_; }
  Expr x(int i = 0) { return has_input(i) ? builder_->Use(node().input(i)) : Expr(); }
  Expr y(int i = 0) { return builder_->Use(node().output(i)); }
  // True where a gradient flows into output i.
  bool has_dy(int i = 0) const {
    return static_cast<size_t>(i) < dys_.size() && dys_[static_cast<size_t>(i)] != nullptr;
  }
  // The gradient of output i; zeros where none flows.
  Expr dy(int i = 0);
  // True where somebody wants the gradient of input i: a rule may leave out the others.
  bool needs(int i) const {
    return static_cast<size_t>(i) < needs_.size() && needs_[static_cast<size_t>(i)];
  }
  // Sets the gradient of input i.
  void dx(int i, Expr gradient) { dxs_[static_cast<size_t>(i)] = gradient; }
  Expr dx_of(int i) const { return dxs_[static_cast<size_t>(i)]; }

 private:
  Builder* builder_;
  std::vector<Value*> dys_;
  std::vector<bool> needs_;
  std::vector<Expr> dxs_;
};

// The body of an operator as nodes of other operators. Old versions of an operator are bodies over
// newer ones; fused operators are bodies over standard ones.
class BodyContext : public NodeContext {
 public:
  BodyContext(const Node& node, const OpDef& def, Builder* builder)
      : NodeContext(node, def), builder_(builder) {}

  Builder& builder() { return *builder_; }
  // Input i; an undefined Expr where it is left out.
  Expr x(int i = 0) { return has_input(i) ? builder_->Use(node().input(i)) : Expr(); }
  // All inputs, left-out ones undefined.
  std::vector<Expr> xs();
  Expr Op(absl::string_view op_type, std::vector<Expr> inputs, AttrMap attrs = {},
          absl::string_view domain = "") {
    return builder_->Op(op_type, std::move(inputs), std::move(attrs), domain);
  }
  // A copy of the node's attributes without those named.
  AttrMap AttrsExcept(std::vector<std::string> names) const;
  // The outputs, in order; those that the node leaves out may be undefined.
  void Return(std::vector<Expr> outputs) { outputs_ = std::move(outputs); }
  void Return(Expr output) { outputs_ = {output}; }
  // Says why there is no body for this case (an error of the model, or none: use a kernel).
  void Refuse(absl::Status why) { refusal_ = std::move(why); }
  const std::vector<Expr>& outputs() const { return outputs_; }
  const absl::Status& refusal() const { return refusal_; }

 private:
  Builder* builder_;
  std::vector<Expr> outputs_;
  absl::Status refusal_;
};

// How a node behaves while its model is trained: a body, and what it does to the states of the
// training graph.
class TrainingContext : public BodyContext {
 public:
  struct Options {
    uint64_t seed = 0;               // of this node: the run's seed mixed with the node's place
    bool freeze_statistics = false;  // batch normalisation uses and keeps its running statistics
    double dropout = -1;             // the ratio of every Dropout; negative: as the model has it
  };
  TrainingContext(const Node& node, const OpDef& def, Builder* builder, Options options)
      : BodyContext(node, def, builder), options_(options) {}

  const Options& options() const { return options_; }
  // After a step, initializer `statistic` takes the value `next`.
  void UpdateState(Value* statistic, Expr next) { updates_.emplace_back(statistic, next); }
  const std::vector<std::pair<Value*, Expr>>& updates() const { return updates_; }

 private:
  Options options_;
  std::vector<std::pair<Value*, Expr>> updates_;
};

}  // namespace graphrun

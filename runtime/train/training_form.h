// TrainingForm: one form of a model, with its loss, in a graph of its own.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/op/expr.h"
#include "runtime/train/training_graph.h"

namespace graphrun {

// Calls in the order of declaration; ToTraining only where the form is for training.
class TrainingForm {
 public:
  // Works on a copy of `model`. The options must outlive the form.
  TrainingForm(const Graph& model, const OpRegistry& registry, const TrainingOptions& options)
      : registry_(registry), options_(options), graph_(model.Clone()) {}

  // Infers types. Every float initializer with axes becomes a state without successor: what may be
  // trained.
  absl::Status Specialized();
  // Replaces nodes by what their declaration says of training; statistics become states.
  absl::Status ToTraining();
  // Adds the input "target" and the loss of the first output.
  absl::Status AttachLoss();

  Graph& graph() { return *graph_; }
  std::unique_ptr<Graph> Take() { return std::move(graph_); }
  // After AttachLoss.
  Value* loss() const { return loss_; }
  Value* target() const { return target_; }
  // The loss was attached before the model's last activation.
  bool logits() const { return logits_; }
  // The value that the loss was attached to.
  const std::string& prediction() const { return prediction_; }

 private:
  // Steps over the model's last activation where the loss takes what stands before it.
  void FindLogits(Value** y);
  Type TargetType(const Value& y) const;
  // Class indices as values where the loss compares values: one-hot rows, or 0 and 1 for a single
  // output.
  Expr TargetFor(Expr y, Expr target) const;
  Tensor WeightsAs(DType dtype) const;
  // `node` by `outputs`, those that are defined.
  void Replace(Node* node, const std::vector<Expr>& outputs);

  const OpRegistry& registry_;
  const TrainingOptions& options_;
  std::unique_ptr<Graph> graph_;
  std::vector<std::pair<Value*, Value*>> statistics_;
  Value* target_ = nullptr;
  Value* loss_ = nullptr;
  std::string prediction_;
  bool logits_ = false;
};

}  // namespace graphrun

// UpdateBuilder: gradients and updates at the end of a training form.
#pragma once

#include <string>
#include <vector>

#include "runtime/op/expr.h"
#include "runtime/train/training_form.h"
#include "runtime/train/training_graph.h"

namespace graphrun {

// What stands behind the loss: Gradients first, then one of Update, Accumulate, Show and Probe.
class UpdateBuilder {
 public:
  // All outlive the builder.
  UpdateBuilder(TrainingForm& form, const OpRegistry& registry, const TrainingOptions& options);

  // Appends the loss's gradients by the parameters that the options select, whose names, sizes and
  // roles it adds to `parameters` (where not null); the others become constants. Errors: kUsage for
  // a regular expression that is none or matches nothing, kModel where there is nothing to train.
  absl::Status Gradients(std::vector<TrainedParameter>* parameters);
  // Penalties, clipping, schedule and the optimizer's update; appends the learning rate to
  // `outputs`. Errors: kUsage for a part whose result is of another type than the parameter.
  absl::Status Update(std::vector<Value*>* outputs);
  // Adds this batch's gradients to those of the batches before it.
  void Accumulate();
  // The gradients as they are.
  void Show(std::vector<Value*>* outputs);
  // Norms of the gradients and the largest of each unit, without any update.
  void Probe(std::vector<TrainedParameter>* parameters, std::vector<Value*>* outputs);

  const absl::Status& status() const { return b_.status(); }

 private:
  Expr State(const std::string& name, Tensor initial);
  std::string AccumulatorName(size_t i) const;
  // The samples of this batch.
  Expr Rows();
  // The gradient becomes the mean over the samples of the accumulated batches and this one.
  void TakeAccumulated();
  absl::StatusOr<bool> Applies(const TrainingOptions::RegularizerUse& use, size_t i) const;
  // What a part emits in place of `old` must be of its type: others than the built-in ones may err.
  absl::Status CheckSame(const char* part, const std::string& name, const std::string& what,
                         Expr made, const Value* old) const;
  absl::Status AddPenalties();
  void Clip();
  absl::Status UpdateOne(size_t i, Expr lr, Expr count);

  TrainingForm& form_;
  Graph& graph_;
  const OpRegistry& registry_;
  const TrainingOptions& options_;
  Builder b_;
  std::vector<Value*> parameters_;
  std::vector<Expr> gradients_;
  std::vector<ParameterRole> roles_;
  std::vector<bool> on_numbers_;  // whether what the parameter is applied to are numbers
};

}  // namespace graphrun

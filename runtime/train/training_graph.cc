#include "runtime/train/training_graph.h"

#include "runtime/passes/pass.h"
#include "runtime/train/inference_form.h"
#include "runtime/train/training_form.h"
#include "runtime/train/update_builder.h"

namespace graphrun {
namespace {

void SetOutputs(Graph& graph, const std::vector<Value*>& outputs) {
  while (!graph.outputs().empty()) graph.RemoveOutput(static_cast<int>(graph.outputs().size()) - 1);
  for (Value* v : outputs) graph.AddOutput(v);
}

enum class StepKind { kUpdate, kAccumulate, kProbe, kGradients };

absl::StatusOr<std::shared_ptr<Graph>> BuildStep(const Graph& model, const OpRegistry& registry,
                                                 const TrainingOptions& options, StepKind kind,
                                                 TrainingGraph* result) {
  TrainingForm form(model, registry, options);
  GR_RETURN_IF_ERROR(form.Specialized());
  GR_RETURN_IF_ERROR(form.ToTraining());
  if (options.patterns) GR_RETURN_IF_ERROR(RecognizePatterns(form.graph(), registry));
  GR_RETURN_IF_ERROR(form.AttachLoss());
  UpdateBuilder updates(form, registry, options);
  GR_RETURN_IF_ERROR(updates.Gradients(kind == StepKind::kUpdate ? &result->parameters : nullptr));
  std::vector<Value*> outputs = {form.loss()};
  if (kind == StepKind::kUpdate) {
    GR_RETURN_IF_ERROR(updates.Update(&outputs));
    result->logits = form.logits();
    result->prediction = form.prediction();
  } else if (kind == StepKind::kAccumulate) {
    updates.Accumulate();
  } else if (kind == StepKind::kGradients) {
    updates.Show(&outputs);
  } else {
    updates.Probe(&result->parameters, &outputs);
  }
  GR_RETURN_IF_ERROR(updates.status());
  SetOutputs(form.graph(), outputs);
  GR_RETURN_IF_ERROR(RemoveDeadCode(form.graph(), registry).status());
  GR_RETURN_IF_ERROR(form.graph().Sort());
  return std::shared_ptr<Graph>(form.Take());
}

}  // namespace

absl::StatusOr<std::shared_ptr<Graph>> BuildGradientGraph(const Graph& model,
                                                          const OpRegistry& registry,
                                                          const TrainingOptions& options) {
  return BuildStep(model, registry, options, StepKind::kGradients, nullptr);
}

absl::StatusOr<TrainingGraph> BuildTrainingGraph(const Graph& model, const OpRegistry& registry,
                                                 const TrainingOptions& options) {
  TrainingGraph result;
  GR_ASSIGN_OR_RETURN(result.step, BuildStep(model, registry, options, StepKind::kUpdate, &result));
  if (options.accumulate) {
    GR_ASSIGN_OR_RETURN(result.accumulate,
                        BuildStep(model, registry, options, StepKind::kAccumulate, &result));
  }
  if (options.probe) {
    GR_ASSIGN_OR_RETURN(result.probe,
                        BuildStep(model, registry, options, StepKind::kProbe, &result));
  }
  TrainingForm form(model, registry, options);
  GR_RETURN_IF_ERROR(ToInferenceForm(form.graph(), registry));
  GR_RETURN_IF_ERROR(form.Specialized());
  GR_RETURN_IF_ERROR(form.AttachLoss());
  std::vector<Value*> outputs = {form.loss()};
  outputs.insert(outputs.end(), form.graph().outputs().begin(), form.graph().outputs().end());
  SetOutputs(form.graph(), outputs);
  // The evaluation reads what training writes; the rest are constants.
  std::vector<Value*> constants;
  for (const StateUpdate& s : form.graph().states()) {
    bool shared = false;
    for (const StateUpdate& t : result.step->states()) shared |= t.state->name() == s.state->name();
    if (!shared) constants.push_back(s.state);
  }
  for (Value* v : constants) {
    form.graph().ClearState(v);
    result.frozen.push_back(v->name());
  }
  if (options.ema > 0) {
    for (const TrainedParameter& p : result.parameters) {
      Value* v = form.graph().FindValue(p.name);
      if (v != nullptr) form.graph().Rename(v, absl::StrCat(kEmaPrefix, p.name));
    }
  }
  GR_RETURN_IF_ERROR(RemoveDeadCode(form.graph(), registry).status());
  GR_RETURN_IF_ERROR(form.graph().Sort());
  result.evaluate = form.Take();
  return result;
}

}  // namespace graphrun

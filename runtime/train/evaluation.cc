#include "runtime/train/evaluation.h"

#include <algorithm>

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/report/class_rows.h"
#include "runtime/train/inference_form.h"

namespace graphrun {

absl::StatusOr<std::unique_ptr<Predictor>> Predictor::Create(
    const Graph& model, const OpRegistry& registry, const recipe::Recipe& recipe,
    const std::string& path, bool target_required, const SessionOptions& options,
    const TrainRegistry& parts) {
  auto predictor = std::unique_ptr<Predictor>(new Predictor());
  predictor->parts_ = parts;
  std::shared_ptr<Graph> graph = model.Clone();
  for (Value* v : graph->initializers())
    if (v->is_graph_input()) graph->HideInput(v);
  if (graph->outputs().empty()) return ModelError("the model has no output");
  GR_RETURN_IF_ERROR(ToInferenceForm(*graph, registry));
  GR_ASSIGN_OR_RETURN(predictor->data_, OpenEvaluationData(recipe.data(), path, graph->inputs(),
                                                           target_required, parts));
  GR_ASSIGN_OR_RETURN(predictor->loader_,
                      MakeLoader(predictor->data_, predictor->data_.train, recipe, false, parts));
  const Node* last = graph->outputs()[0]->producer();
  const OpDef* def = last == nullptr ? nullptr : registry.Find(*last);
  const OutputLink link = def == nullptr ? OutputLink::kNone : def->link();
  // The softmax of log p is p.
  predictor->logits_ = link == OutputLink::kNone || link == OutputLink::kLogSoftmax;
  GR_ASSIGN_OR_RETURN(predictor->session_, Session::Create(graph, &registry, options));
  return predictor;
}

absl::Status Predictor::Run(
    absl::FunctionRef<absl::Status(const Batch&, const Tensor&, const Tensor&)> take) {
  GR_RETURN_IF_ERROR(loader_->Seek(0, 0));
  std::vector<Tensor> arguments;
  for (bool last = false; !last;) {
    GR_ASSIGN_OR_RETURN(const Batch* batch, loader_->Next());
    ArrangeBatch(data_, *batch, &arguments);
    Tensor target;
    if (data_.target >= 0) {
      target = arguments.back();
      arguments.pop_back();
    }
    GR_RETURN_IF_ERROR(session_->Run(absl::Span<const Tensor>(arguments)));
    const Datum& output = session_->output(0);
    if (!output.is_tensor() || output.tensor.rank() < 1 || output.tensor.dim(0) != batch->size) {
      return ModelError("output \"", session_->graph().outputs()[0]->name(), "\" is ",
                        output.type().ToString(), " for a batch of ", batch->size,
                        "; its first axis must be the batch");
    }
    GR_RETURN_IF_ERROR(take(*batch, output.tensor, target));
    last = batch->last;
  }
  return absl::OkStatus();
}

namespace {

// What suits a target where nobody says; known once the first batch is there.
std::vector<std::string> DefaultMetrics(const TrainData& data, const Tensor& output) {
  if (!data.class_target) return {"mse", "rmse", "mae", "r2"};
  std::vector<std::string> names = {"accuracy", "balanced_accuracy", "precision", "recall", "f1",
                                    "mcc",      "log_loss",          "roc_auc"};
  if (output.rank() > 1 && output.dim(1) > 5) names.insert(names.begin() + 1, "top5");
  return names;
}

}  // namespace

absl::StatusOr<Evaluation> EvaluateModel(Predictor* predictor, std::vector<std::string> names) {
  MetricOptions options;
  options.from_logits = predictor->logits();
  Evaluation result;
  std::vector<std::unique_ptr<Metric>> metrics;
  const bool classes = predictor->data().class_target;
  GR_RETURN_IF_ERROR(
      predictor->Run([&](const Batch& batch, const Tensor& output, const Tensor& target) {
        if (metrics.empty()) {
          if (names.empty()) names = DefaultMetrics(predictor->data(), output);
          for (const std::string& name : names) {
            GR_ASSIGN_OR_RETURN(std::unique_ptr<Metric> metric,
                                predictor->parts().NewMetric(name, options));
            metrics.push_back(std::move(metric));
          }
        }
        for (const auto& metric : metrics) {
          GR_RETURN_IF_ERROR(Annotate(metric->Update(output, target), metric->name()));
        }
        result.samples += batch.size;
        if (!classes) return absl::OkStatus();
        GR_ASSIGN_OR_RETURN(const ClassRows rows, ReadClassRows(output, target, options));
        int64_t most = predictor->data().classes;
        for (const int64_t c : rows.actual) most = std::max(most, c + 1);
        for (const int64_t c : rows.chosen) most = std::max(most, c + 1);
        if (most > 1000) return absl::OkStatus();  // too many for a table
        GR_RETURN_IF_ERROR(result.confusion.Grow(most));
        for (size_t i = 0; i < rows.actual.size(); ++i)
          result.confusion.Add(rows.actual[i], rows.chosen[i]);
        return absl::OkStatus();
      }));
  for (const auto& metric : metrics) result.metrics.emplace_back(metric->name(), metric->Value());
  return result;
}

}  // namespace graphrun

#include "runtime/train/run_end.h"

#include <limits>

#include "runtime/train/predictions.h"
#include "runtime/train/run_setup.h"

namespace graphrun {
namespace {

constexpr int64_t kMostShownClasses = 1000;

// What the best model (the last one where none was kept) says to the validation data.
absl::Status Predict(RunSetup& setup, const RunFolder& folder, const TrainResult& result,
                     RunSummary* summary) {
  const std::string& model = result.best_model.empty() ? result.last_model : result.best_model;
  if (setup.validation_loader == nullptr || model.empty() || summary->status == "interrupted" ||
      summary->status == "paused")
    return absl::OkStatus();
  ConfusionMatrix confusion;
  GR_RETURN_IF_ERROR(
      WritePredictions(setup, model, folder.path() + "/predictions.csv", &confusion));
  if (confusion.classes() > kMostShownClasses) return absl::OkStatus();
  for (int64_t actual = 0; actual < confusion.classes(); ++actual) {
    summary->confusion.emplace_back();
    for (int64_t c = 0; c < confusion.classes(); ++c)
      summary->confusion.back().push_back(confusion.count(actual, c));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainResult> EndRun(RunSetup& setup, const RunFolder& folder, const SavePolicy& save,
                                   const RunPosition& position, const RunEnd& end) {
  const bool has_best = position.best_epoch >= 0;
  TrainResult result;
  result.folder = folder.path();
  result.signal = end.signal;
  if (save.last) {
    const bool restore = setup.recipe.loop().restore_best() && save.best && has_best;
    GR_RETURN_IF_ERROR(restore ? folder.CopyBestToLast()
                               : ExportTrained(setup, folder.last_model()));
    result.last_model = folder.last_model();
  }
  if (save.best && has_best) result.best_model = folder.best_model();
  GR_RETURN_IF_ERROR(folder.WriteTrainingModel(setup, position));
  RunSummary& summary = result.summary;
  summary.name = folder.name();
  summary.status = end.status;
  summary.monitored = end.monitor->name();
  summary.higher_is_better = end.monitor->higher_is_better();
  summary.best_value = has_best ? position.best : std::numeric_limits<double>::quiet_NaN();
  summary.best_step = position.best_step;
  summary.best_epoch = position.best_epoch + 1;
  summary.best_model = "best.onnx";
  summary.steps = position.updates;
  summary.epochs = position.epoch;
  summary.seconds = end.seconds;
  summary.results = position.results;
  summary.warnings = position.warnings;
  summary.class_names = setup.data.class_names;
  summary.facts = RunFacts(setup);
  GR_RETURN_IF_ERROR(Predict(setup, folder, result, &summary));
  GR_RETURN_IF_ERROR(folder.WriteSummary(summary, setup.recipe.output().plots()));
  return result;
}

}  // namespace graphrun

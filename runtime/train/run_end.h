// What a run leaves behind when it stops: its models, predictions and summary.
#pragma once

#include <string>

#include "runtime/train/monitor.h"
#include "runtime/train/run_folder.h"
#include "runtime/train/save_policy.h"
#include "runtime/train/trainer.h"

namespace graphrun {

// How a run ended.
struct RunEnd {
  std::string status;  // "finished", "stopped early", "interrupted", "paused"
  int signal = 0;      // that interrupted it; 0: none
  double seconds = 0;  // of training, those before it was resumed included
  const Monitor* monitor = nullptr;
};

// Writes last.onnx and train.onnx, the best model's predictions of the validation data (not of a
// run that is to go on), the summary and the plots. Errors: of the folder's files; of evaluation.
absl::StatusOr<TrainResult> EndRun(RunSetup& setup, const RunFolder& folder, const SavePolicy& save,
                                   const RunPosition& position, const RunEnd& end);

}  // namespace graphrun

// Trainer: the loop over epochs and batches; everything around it that makes a run: validation,
// early stopping, checkpoints, logs, the run's folder.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "runtime/op/op_registry.h"
#include "runtime/report/console.h"
#include "runtime/report/run_summary.h"
#include "runtime/train/train_registry.h"

namespace graphrun::recipe {
class Recipe;
}

namespace graphrun {

// What surrounds a run.
struct TrainEnvironment {
  std::string command_line;    // noted in env.json
  Console* console = nullptr;  // progress; null: none
  const std::atomic<int>* signal =
      nullptr;  // nonzero: finish the step, save, stop with that signal's number
  std::atomic<bool>* save_request =
      nullptr;           // true: save a checkpoint and go on (set back to false)
  bool force = false;    // overwrite a run that is already in the folder
  bool resume = false;   // go on from the newest checkpoint of the folder
  bool dry_run = false;  // build and plan everything, train nothing
  // Stop after so many epochs of the run, with status "paused", to be resumed; 0: not. What the run
  // does is the same with any number of pauses.
  int64_t pause_epoch = 0;
};

struct TrainResult {
  RunSummary summary;
  std::string folder;
  std::string best_model, last_model;  // paths
  int signal = 0;                      // that stopped the run; 0: none
};

// Trains the model of a recipe on its data. Errors: kUsage, kModel, kData, kCheckpoint, kIo,
// kLimit, kLocked (another process uses the folder), kNumeric (the loss is not finite; the last
// checkpoint stays). `parts`: what the recipe may name.
absl::StatusOr<TrainResult> Train(const recipe::Recipe& recipe, const OpRegistry& registry,
                                  const TrainEnvironment& environment,
                                  const TrainRegistry& parts = TrainRegistry());

}  // namespace graphrun

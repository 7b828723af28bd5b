// Checkpoint: everything that a run needs to go on to the same bits, as an ONNX model with
// TrainingInfoProto.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/exec/state_store.h"
#include "runtime/train/training_graph.h"

namespace graphrun {

// Where a run stands, beside the states of its graph. Kept in the model's metadata.
struct RunPosition {
  int64_t epoch = 0;    // of the next batch, from 0
  int64_t batch = 0;    // the next batch within the epoch
  int64_t batches = 0;  // trained on so far
  int64_t updates = 0;  // made so far
  double best = 0;      // of the monitored value; meaningful where best_epoch >= 0
  int64_t best_epoch = -1;
  int64_t best_step = 0;
  int64_t since_best = 0;      // validations
  int64_t since_lower_lr = 0;  // validations, for reduce on plateau
  double plateau_best = 0;
  bool plateau_started = false;
  double epoch_loss = 0;  // sum over the epoch's samples so far
  int64_t epoch_samples = 0;
  double lr = 0;                                              // of the last update
  double seconds = 0;                                         // trained so far
  std::vector<std::pair<std::string, double>> results;        // last measured
  std::vector<std::pair<std::string, double>> gradients;      // norms at the start of the epoch
  std::vector<std::pair<std::string, std::string>> warnings;  // given so far: name, text
  std::vector<std::pair<double, int64_t>> top;  // the best values and their epochs, best first
  // Of GradientWatch: samples seen, and for each watched parameter (by its index) a '1' for each
  // unit that ever had a gradient, a '0' for each other.
  int64_t watched_samples = 0;
  std::vector<std::pair<int64_t, std::string>> alive;
  // A run that a limit has ended within an epoch: what was measured there. The fields above know
  // nothing of it, so that the run can go on as if it had never ended.
  bool ended = false;
  bool end_is_best = false;
  double end_value = 0;
  std::vector<std::pair<std::string, double>> end_results;

  std::map<std::string, std::string> ToMetadata() const;
  // Errors: kCheckpoint for a field that is missing or no number.
  static absl::StatusOr<RunPosition> FromMetadata(
      const std::map<std::string, std::string>& metadata);
};

// Writes the training graph with the states' present values. Atomic: the file appears whole or not
// at all.
absl::Status SaveCheckpoint(const std::string& path, const TrainingGraph& graph,
                            const OpRegistry& registry, const StateStore& states,
                            const RunPosition& position);

// Sets every state of the store to what the checkpoint holds. Errors: kCheckpoint where one is
// missing or of other sizes (another model or recipe).
absl::StatusOr<RunPosition> LoadCheckpoint(const std::string& path, StateStore* states);

// The newest checkpoint of a run's folder that reads without error; "" where there is none.
std::string NewestCheckpoint(const std::string& folder);

}  // namespace graphrun

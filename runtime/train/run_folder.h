// RunFolder: the files that a training run leaves.
//
//   recipe.txtpb env.json train.log metrics.csv metrics.jsonl events.out.tfevents.* summary.json
//   report.html plots/ best.onnx last.onnx train.onnx checkpoints/step-000000500.onnx
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/file.h"
#include "runtime/report/console.h"
#include "runtime/report/run_summary.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/run_setup.h"

namespace graphrun {

// Where a recipe's run is: output.dir, runs/MODEL where that is empty.
std::string RunFolderPath(const recipe::Recipe& recipe);

class RunFolder {
 public:
  ~RunFolder();
  // Takes the folder of RunFolderPath, locked for this process. A
  // folder that holds a run is refused unless `force` (its files are replaced) or `resume`. Errors:
  // kUsage, kIo, kLocked, kCheckpoint.
  static absl::StatusOr<std::unique_ptr<RunFolder>> Open(const recipe::Recipe& recipe, bool force,
                                                         bool resume);

  const std::string& path() const { return path_; }
  std::string name() const;
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  std::string best_model() const { return path_ + "/best.onnx"; }
  std::string last_model() const { return path_ + "/last.onnx"; }

  // recipe.txtpb (resolved) and env.json.
  absl::Status WriteEnvironment(const RunSetup& setup, const std::string& command_line) const;
  // checkpoints/step-N.onnx, N being the updates made; then older ones go: the two newest stay, and
  // where `every` is above 0 all whose N it divides.
  absl::Status SaveCheckpoint(const RunSetup& setup, const RunPosition& position,
                              int64_t every) const;
  // train.log, begun anew or gone on with: what a console shows, as plain lines. Belongs to the
  // folder. Errors: kIo.
  absl::StatusOr<std::unique_ptr<Console>> OpenLog(bool append);
  // top/epoch-N.onnx.
  std::string top_model(int64_t epoch) const;
  // train.onnx: the newest checkpoint under a fixed name.
  absl::Status WriteTrainingModel(const RunSetup& setup, const RunPosition& position) const;
  absl::Status CopyBestToLast() const;
  // A best model that is found where a limit ends the run within an epoch takes the place of the
  // best of whole epochs, which is kept for a run that goes on: SetBestAside before, RestoreBest
  // when it does.
  absl::Status SetBestAside() const;
  absl::Status RestoreBest() const;
  // summary.json, report.html and the plots.
  absl::Status WriteSummary(const RunSummary& summary, bool plots) const;

 private:
  RunFolder() = default;
  std::string path_;
  int log_ = -1;
  std::unique_ptr<ScopedFileLock> lock_;
};

// What a run's header and report say of it: model, parameters, data, loss, optimizer, schedule,
// plan.
std::vector<std::pair<std::string, std::string>> RunFacts(const RunSetup& setup);

}  // namespace graphrun

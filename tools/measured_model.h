// A model, or a training step of it, with inputs and a session: what `bench` and `profile` measure.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/session.h"
#include "runtime/op/op_registry.h"
#include "tools/flags.h"

namespace graphrun::cli {

struct MeasuredModel {
  std::unique_ptr<OpRegistry> registry;
  std::shared_ptr<const Graph> graph;
  std::vector<Datum> inputs;  // random where none were given
  double input_seconds = 0;   // for reading or drawing them, which is no part of loading the model
  std::unique_ptr<Session> session;

  // Rows of the first input: samples that a run takes.
  int64_t samples() const;
  absl::Status Run() { return session->Run(absl::Span<const Datum>(inputs)); }
};

// --train, --optimizer, --loss, --recompute.
std::vector<FlagSpec> TrainingStepFlags();
// The same, and those of inputs and sessions.
std::vector<FlagSpec> MeasureFlags();
// The model that argument 0 names. Errors: kUsage, kModel.
absl::StatusOr<MeasuredModel> OpenMeasured(const Flags& flags);

// Times every step of `runs` runs, and writes down at most `max_events` calls.
absl::StatusOr<Profile> ProfileRuns(MeasuredModel& model, int64_t runs, size_t max_events);

// What this machine reaches in a float32 product of 1024 x 1024 matrices, multiply-adds a second:
// the best of several.
absl::StatusOr<double> PeakMultiplyAdds(const OpRegistry& registry, const SessionOptions& options);

}  // namespace graphrun::cli

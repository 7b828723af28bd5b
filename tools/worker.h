// ForEachInWorkers: numbered jobs in child processes, so that a crash or an endless loop costs one
// job only.
#pragma once

#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace graphrun::cli {

struct JobResult {
  enum class State { kDone, kCrashed, kTimeout };
  State state = State::kDone;
  // kDone: what the job returned; otherwise what happened, with the last lines of its messages.
  std::string text;
  double seconds = 0;
};

// Calls job(i) for i in [0, count) in order, in a child of this process that is replaced whenever
// it dies or a job takes longer than `time_limit` seconds, and done(i, result) in this process. The
// children are forked: REQUIRES that this process has not started threads. Errors: kIo where no
// child can be made.
absl::Status ForEachInWorkers(int count, double time_limit, absl::FunctionRef<std::string(int)> job,
                              absl::FunctionRef<void(int, const JobResult&)> done);

}  // namespace graphrun::cli

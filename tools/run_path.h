// A model named by its file or by the run that made it.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace graphrun::cli {

// `path` itself, or best.onnx (else last.onnx) of a run's folder. Errors: kCheckpoint where the
// folder has neither; kIo where there is nothing.
absl::StatusOr<std::string> ModelOf(const std::string& path);

}  // namespace graphrun::cli

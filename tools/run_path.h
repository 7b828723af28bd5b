// A model named by its file or by the run that made it, and how that run read its data.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proto/recipe.pb.h"
#include "tools/flags.h"

namespace graphrun::cli {

// `path` itself, or best.onnx (else last.onnx) of a run's folder. Errors: kCheckpoint where the
// folder has neither; kIo where there is nothing.
absl::StatusOr<std::string> ModelOf(const std::string& path);

// How data for that model are read: as `path`, where it is a run's folder, read its own (format,
// target, features, inputs, sizes of images), and above it what the flags say. Errors: kUsage.
absl::StatusOr<recipe::Recipe> DataRecipe(const std::string& path, const Flags& flags);

}  // namespace graphrun::cli

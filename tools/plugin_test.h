// The tests that graphrun gives a plugin.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace graphrun::cli {

// Loads the library and prints a line for each thing that it offers (`verbose`: for each check).
// Errors: kPlugin where loading or a check failed.
absl::Status TestPlugin(const std::string& path, bool verbose);

}  // namespace graphrun::cli

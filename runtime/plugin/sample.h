// Samples of plugins' operators.
#pragma once

#include <string>

#include "plugins/graphrun_plugin.h"
#include "runtime/op/sample.h"

namespace graphrun {

// Errors: kPlugin.
absl::StatusOr<Sample> ReadSample(const gr_sample& sample, const std::string& where);

}  // namespace graphrun

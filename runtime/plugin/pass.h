// Passes of plugins.
#pragma once

#include <string>

#include "plugins/graphrun_plugin.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// `plugin`: "plugin kan". Errors: kPlugin.
absl::StatusOr<Rewrite> ReadPass(const gr_pass& pass, const std::string& plugin);

}  // namespace graphrun
